# SPDX-License-Identifier: GPL-2.0-or-later
"""What people run beside this release's programs: confirmed, and slowed or left alone.

SoftEther's server, Libreswan's aggressive mode, and strongSwan with ML-KEM, whose key
in IKE_SA_INIT takes more than a packet. All of them real (`tests/lab/foreign.py`).
"""

import contextlib
import itertools
import json
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.lab import libreswan, rates, softether, strongswan
from tests.lab.capture import capturing
from tests.lab.daemon import VPNGATE, Daemon, daemon, enforcing_settings
from tests.lab.foreign import Release
from tests.lab.rates import Way
from tests.lab.strongswan import Manner
from tests.lab.topology import Host, Lab

# Low, so that ESP in user space keeps up with several times as much.
_LIMIT = 1e6  # bit/s
_IKE = 500  # port

Start = Callable[[Host, Host], contextlib.AbstractContextManager[Way]]


@dataclass(frozen=True)
class Peer:
    """A tunnel of somebody else's making.

    answers  what confirms each flow, by its port at the server
    start    brings it up; yields a way that is in it, from the client
    shared   the port of both ends of what is sent that way, unless any will do
    """

    name: str
    tunnel: str
    answers: Mapping[int, str]
    release: Release
    start: Start
    shared: int | None = None


def _softether(*, tcp: bool) -> Peer:
    @contextlib.contextmanager
    def start(client: Host, server: Host) -> Iterator[Way]:
        with softether.tunnel(client, server, tcp=tcp) as tunnel:
            yield Way(tunnel.client, tunnel.server)

    name = f"softether-{'tcp' if tcp else 'udp'}"
    answers = {1194: "server reset v2"}
    return Peer(name, "openvpn", answers, softether.RELEASE, start)


def _libreswan(version: int) -> Peer:
    @contextlib.contextmanager
    def start(client: Host, server: Host) -> Iterator[Way]:
        # What follows the exchange is not up without ESP in the kernel: the flow that
        # has the verdict is used by others, once its ports are free again.
        with libreswan.aggressive(client, server, version=version):
            pass
        yield Way(client.at(version), server.at(version))

    name = f"libreswan-aggressive-ipv{version}"
    answers = {_IKE: "IKEv1 aggressive mode response"}
    return Peer(name, "ipsec", answers, libreswan.RELEASE, start, shared=_IKE)


def _ml_kem(name: str, proposal: str, version: int) -> Peer:
    release = strongswan.WITH_ML_KEM

    @contextlib.contextmanager
    def start(client: Host, server: Host) -> Iterator[Way]:
        manner = Manner(proposal=proposal, release=release)
        with strongswan.tunnel(
            client, server, version=version, manner=manner
        ) as tunnel:
            yield Way(tunnel.client, tunnel.server)

    answers = {_IKE: "IKE_SA_INIT response", 4500: "IKEv2 exchange"}
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
)
_numbers = itertools.count(1)


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(peer, id=peer.name, marks=peer.release.needed) for peer in PEERS
    ],
)
def peer(request: pytest.FixtureRequest) -> Peer:
    made: Peer = request.param
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


def _confirmed(capture: Path, tunnel: str) -> dict[int, str]:
    """What `vpngate classify` takes for the answer, by the server's port."""
    done = subprocess.run(
        [VPNGATE, "classify", "--explain", "--format", "json", str(capture)],
        capture_output=True,
        text=True,
        check=True,
    )
    flows = [json.loads(line) for line in done.stdout.splitlines()]
    assert {(flow["tunnel"], flow["evidence"]) for flow in flows} == {
        (tunnel, "confirmed")
    }
    return {
        flow["responder"]["port"]: flow["explanation"]["messages"][-1]["name"]
        for flow in flows
    }


def test_a_peer_that_nobody_registered_has_its_rate(
    lab: Lab, enforcing: Daemon, peer: Peer
) -> None:
    path = lab.folder / f"{peer.name}.pcap"
    with contextlib.ExitStack() as stack:
        with capturing(lab.gateway, path):
            way = stack.enter_context(peer.start(lab.client, lab.stranger))
            enforcing.wait_for_flow(peer.tunnel, "throttle", len(peer.answers))
        measured = rates.class_rates(lab, *way, rate=_LIMIT, both_ports=peer.shared)
    assert measured == [pytest.approx(_LIMIT, rel=rates.TOLERANCE)]
    assert _confirmed(path, peer.tunnel) == peer.answers


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
