# SPDX-License-Identifier: GPL-2.0-or-later
"""Every kind of tunnel between real peers: recognised, and covered whole.

And a capture of the same packets, given to `vpngate classify`, names the same
tunnels as the daemon that saw them pass.
"""

import contextlib
import io
import ipaddress
import itertools
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lab import l2tp, load, openvpn, pptp, rates, strongswan, wireguard
from tests.lab.capture import capturing
from tests.lab.daemon import VPNGATE, Daemon, daemon, enforcing_settings, total
from tests.lab.openvpn import Wrapping
from tests.lab.strongswan import Exchange
from tests.lab.topology import Host, Lab
from vpngate.cli import main

Peer = Callable[[Host, Host], contextlib.AbstractContextManager[object]]


_numbers = itertools.count(1)


# What has a verdict is not looked at again, so each test has a daemon of its own.
@pytest.fixture
def fresh(lab: Lab) -> Iterator[Daemon]:
    with daemon(lab.gateway, enforcing_settings(lab, f"{next(_numbers)}")) as running:
        yield running


_TUNNELS = ("wireguard", "openvpn", "ipsec", "l2tp", "pptp")


def _wireguard(version: int) -> Peer:
    return lambda client, server: wireguard.tunnel(client, server, version=version)


def _openvpn(version: int, wrapping: Wrapping, *, tcp: bool) -> Peer:
    return lambda client, server: openvpn.tunnel(
        client, server, version=version, wrapping=wrapping, tcp=tcp
    )


def _ipsec(version: int, exchange: Exchange) -> Peer:
    @contextlib.contextmanager
    def peer(client: Host, server: Host) -> Iterator[None]:
        with strongswan.tunnel(
            client, server, version=version, exchange=exchange
        ) as tunnel:
            for ends in (
                (tunnel.client, tunnel.server),
                (tunnel.server, tunnel.client),
            ):
                load.run_stream(*ends, rate=1e5, seconds=0.2)
            yield

    return peer


def _pptp(client: Host, server: Host) -> contextlib.AbstractContextManager[object]:
    @contextlib.contextmanager
    def peer() -> Iterator[None]:
        with pptp.tunnel(client, server) as call:
            call.exchange(5)
            yield

    return peer()


PEERS: dict[str, Peer] = {
    "wireguard-ipv4": _wireguard(4),
    "wireguard-ipv6": _wireguard(6),
    **{
        f"openvpn-{wrapping}-{'tcp' if tcp else 'udp'}-ipv{version}": _openvpn(
            version, wrapping, tcp=tcp
        )
        for wrapping in (Wrapping.PLAIN, Wrapping.TLS_CRYPT)
        for tcp in (False, True)
        for version in (4, 6)
    },
    **{
        f"ipsec-{exchange.name.lower()}-ipv{version}": _ipsec(version, exchange)
        for exchange in Exchange
        for version in (4, 6)
    },
    "l2tp-ipv4": l2tp.tunnel,
    "pptp-ipv4": _pptp,
}

Counted = dict[tuple[str, str, str], float]


def _counted(running: Daemon) -> Counted:
    """Flows by tunnel, family and verdict."""
    told = running.samples("vpngate_flows_total")
    return {
        (tunnel, family, verdict): total(
            told, tunnel=tunnel, family=family, verdict=verdict
        )
        for tunnel in _TUNNELS
        for family in ("ipv4", "ipv6")
        for verdict in ("allow", "throttle")
    }


def _classified(capture: Path, registry: Path) -> set[tuple[str, str, str]]:
    """What `vpngate classify` makes of a capture, confirmed flows only; JSON.

    Its table is made in this process: what a start imports it has already.
    """
    command = ("classify", str(capture), "--registry", str(registry), "--format")
    text = _run(VPNGATE, *command, "json")
    flows = [json.loads(line) for line in text.splitlines()]
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert main([*command, "table"]) == 0
    table = out.getvalue()
    found = set()
    for flow in flows:
        assert flow["tunnel"] in table
        assert flow["initiator"]["address"] in table
        if flow["evidence"] == "confirmed":
            version = ipaddress.ip_address(flow["initiator"]["address"]).version
            found.add((flow["tunnel"], f"ipv{version}", flow["verdict"]))
    return found


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize("registered", [False, True], ids=["stranger", "member"])
@pytest.mark.parametrize("name", list(PEERS))
def test_daemon_and_classify_agree_on_a_real_tunnel(
    lab: Lab, fresh: Daemon, name: str, *, registered: bool
) -> None:
    tunnel, family = name.partition("-")[0], name.rpartition("-")[2]
    verdict = "allow" if registered else "throttle"
    server = lab.member if registered else lab.stranger
    expected = (tunnel, family, verdict)
    before = _counted(fresh)
    path = lab.folder / f"{name}-{verdict}.pcap"
    with capturing(lab.gateway, path), PEERS[name](lab.client, server):
        fresh.wait_until(
            lambda: _counted(fresh)[expected] > before[expected],
            f"{name} with verdict {verdict}",
        )
    now = _counted(fresh)
    seen = {what for what in now if now[what] > before[what]}
    assert seen == {expected}
    assert _classified(path, fresh.settings.registry) == seen


def test_the_whole_of_ipsec_is_throttled(lab: Lab) -> None:
    """The verdict on IKE covers the ESP that it agreed on.

    At 1 Mbit/s, since charon's own ESP in user space has to keep up with three times
    the rate; what it cannot send at once it queues without end.
    """
    settings = enforcing_settings(lab, "ipsec")
    settings.change(throttle={"rate": "1mbit"})
    rate = 1e6
    with (
        daemon(lab.gateway, settings) as slow,
        strongswan.tunnel(lab.client, lab.stranger) as tunnel,
    ):
        slow.wait_for_flow("ipsec", "throttle")
        for ends in ((tunnel.client, tunnel.server), (tunnel.server, tunnel.client)):
            measured = rates.class_rates(lab, *ends, rate=rate)
            assert measured == [pytest.approx(rate, rel=rates.TOLERANCE)]
        assert slow.fetch("/healthz")[0] == 200
