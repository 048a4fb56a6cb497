# SPDX-License-Identifier: GPL-2.0-or-later
"""What people run beside this release's programs: confirmed, and slowed or left alone.

SoftEther's server, Libreswan's aggressive mode, and strongSwan with ML-KEM, whose key
in IKE_SA_INIT takes more than a packet; older and newer versions of what the other
tests run. All of them real (`tests/lab/foreign.py`).
"""

import contextlib
import itertools
import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.lab import libreswan, openvpn, rates, softether, strongswan
from tests.lab.capture import capturing
from tests.lab.daemon import VPNGATE, Daemon, daemon, enforcing_settings
from tests.lab.foreign import Release
from tests.lab.namespaces import wait_until
from tests.lab.rates import Way
from tests.lab.strongswan import Exchange, Manner
from tests.lab.topology import Host, Lab

# Low, so that ESP in user space keeps up with several times as much.
_LIMIT = 1e6  # bit/s
_IKE = 500  # port
_OLD, _NEW = Release("bullseye"), Release("forky")

Start = Callable[[Host, Host], contextlib.AbstractContextManager[Way]]


@dataclass(frozen=True)
class Peer:
    """A tunnel of somebody else's making.

    answers  what confirms its flows, one each
    start    brings it up; yields a way that is in it, from the client
    shared   the port of both ends of what is sent that way, unless any will do
    """

    name: str
    tunnel: str
    answers: tuple[str, ...]
    release: Release
    start: Start
    shared: int | None = None


def _softether(*, tcp: bool) -> Peer:
    @contextlib.contextmanager
    def start(client: Host, server: Host) -> Iterator[Way]:
        with softether.tunnel(client, server, tcp=tcp) as tunnel:
            yield Way(tunnel.client, tunnel.server)

    name = f"softether-{'tcp' if tcp else 'udp'}"
    return Peer(name, "openvpn", ("server reset v2",), softether.RELEASE, start)


def _libreswan(version: int) -> Peer:
    @contextlib.contextmanager
    def start(client: Host, server: Host) -> Iterator[Way]:
        # What follows the exchange is not up without ESP in the kernel: the flow that
        # has the verdict is used by others, once its ports are free again.
        with libreswan.aggressive(client, server, version=version):
            pass
        yield Way(client.at(version), server.at(version))

    name = f"libreswan-aggressive-ipv{version}"
    answers = ("IKEv1 aggressive mode response",)
    return Peer(name, "ipsec", answers, libreswan.RELEASE, start, shared=_IKE)


def _openvpn(version: str, release: Release) -> Peer:
    """Its client alone: the machine's own server answers."""

    @contextlib.contextmanager
    def start(client: Host, server: Host) -> Iterator[Way]:
        with openvpn.tunnel(client, server, caller=release) as tunnel:
            yield Way(tunnel.client, tunnel.server)

    name = f"openvpn-{version}"
    return Peer(name, "openvpn", ("server reset v2",), release, start)


def _strongswan_5_9_1(exchange: Exchange, answers: tuple[str, ...]) -> Peer:
    @contextlib.contextmanager
    def start(client: Host, server: Host) -> Iterator[Way]:
        with strongswan.tunnel(
            client, server, exchange=exchange, manner=Manner(release=_OLD)
        ) as tunnel:
            yield Way(tunnel.client, tunnel.server)

    name = f"strongswan-5.9.1-{exchange.name.lower()}"
    return Peer(name, "ipsec", answers, _OLD, start)


def _ml_kem(name: str, proposal: str, version: int) -> Peer:
    release = strongswan.WITH_ML_KEM

    @contextlib.contextmanager
    def start(client: Host, server: Host) -> Iterator[Way]:
        manner = Manner(proposal=proposal, release=release)
        with strongswan.tunnel(
            client, server, version=version, manner=manner
        ) as tunnel:
            yield Way(tunnel.client, tunnel.server)

    answers = ("IKE_SA_INIT response", "IKEv2 exchange")  # on ports 500 and 4500
    return Peer(f"{name}-ipv{version}", "ipsec", answers, release, start)


PEERS = (
    _softether(tcp=False),
    _softether(tcp=True),
    _libreswan(4),
    _libreswan(6),
    *(
        _ml_kem("strongswan-sa-init", "aes256-sha256-mlkem1024", version)
        for version in (4, 6)
    ),
    # RFC 9370: the second key exchange is in IKE_INTERMEDIATE.
    _ml_kem("strongswan-intermediate", "aes256-sha256-x25519-ke1_mlkem768", 4),
    _strongswan_5_9_1(
        Exchange.AGGRESSIVE, ("IKEv1 aggressive mode response", "IKEv1 exchange")
    ),
    _openvpn("2.5", _OLD),
    _openvpn("2.7", _NEW),
)
_numbers = itertools.count(1)


@pytest.fixture(scope="module", params=PEERS, ids=[peer.name for peer in PEERS])
def peer(request: pytest.FixtureRequest) -> Peer:
    made: Peer = request.param
    if made.release.lacking:
        pytest.skip(made.release.lacking)
    return made


# What has a verdict is not looked at again, so each peer has a daemon of its own.
@pytest.fixture(scope="module")
def enforcing(lab: Lab, peer: Peer) -> Iterator[Daemon]:
    """A daemon that enforces on the client's interface alone."""
    settings = enforcing_settings(lab, f"{peer.name}-{next(_numbers)}")
    settings.change(
        gateway={"interfaces": ["lan0"]}, throttle={"rate": f"{_LIMIT / 1e6:.0f}mbit"}
    )
    with daemon(lab.gateway, settings) as running:
        yield running


def _confirmed(capture: Path, tunnel: str) -> list[str]:
    """What `vpngate classify` takes for the answer of each flow that it confirms.

    Of a capture that is still being written: its last packet may lack its end.
    """
    done = subprocess.run(
        [VPNGATE, "classify", "--explain", "--format", "json", str(capture)],
        capture_output=True,
        text=True,
        check=False,
    )
    flows = [json.loads(line) for line in done.stdout.splitlines()]
    assert {flow["tunnel"] for flow in flows} <= {tunnel}
    return [
        flow["explanation"]["messages"][-1]["name"]
        for flow in flows
        if flow["evidence"] == "confirmed"
    ]


def test_a_peer_that_nobody_registered_has_its_rate(
    lab: Lab, enforcing: Daemon, peer: Peer
) -> None:
    path = lab.folder / f"{peer.name}.pcap"
    with contextlib.ExitStack() as stack:
        with capturing(lab.gateway, path):
            way = stack.enter_context(peer.start(lab.client, lab.stranger))
            enforcing.wait_for_flow(peer.tunnel, "throttle", len(peer.answers))
            wait_until(
                lambda: set(_confirmed(path, peer.tunnel)) == set(peer.answers),
                f"a capture that shows {', '.join(peer.answers)}",
            )
        measured = rates.class_rates(lab, *way, rate=_LIMIT, both_ports=peer.shared)
    assert measured == [pytest.approx(_LIMIT, rel=rates.TOLERANCE)]


def test_a_peer_that_is_registered_is_untouched(
    lab: Lab, enforcing: Daemon, peer: Peer
) -> None:
    """Beside it one of the same kind by an interface that vpngate has no hook on."""
    throttled = enforcing.metric("vpngate_flows_total", verdict="throttle")
    with (
        peer.start(lab.client, lab.member) as flow,
        peer.start(lab.neighbour, lab.stranger) as control,
    ):
        enforcing.wait_for_flow(peer.tunnel, "allow", len(peer.answers))
        for ways in ((flow, control), (flow.back, control.back)):
            offer = rates.beside(
                lab, *ways, rate=4 * _LIMIT, limit=_LIMIT, both_ports=peer.shared
            )
            assert offer.faults == []
    assert enforcing.metric("vpngate_flows_total", verdict="throttle") == throttled
