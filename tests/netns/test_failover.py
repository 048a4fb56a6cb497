# SPDX-License-Identifier: GPL-2.0-or-later
"""Two gateways that know nothing of each other, and traffic that moves between them.

    client ── inner ┬─ lan0  first   wan0 ─┬ outer ── outside: the member's and the
    100.64.1.10     └─ lan0  second  wan0 ─┘                   stranger's addresses

As after a failover of VRRP: the next hop changes at both ends, and nothing else. What
happened is counted in the kernels of both.
"""

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.lab import load, rates, wireguard
from tests.lab.daemon import Daemon, daemon, enforcing_settings
from tests.lab.namespaces import Namespace, settle
from tests.lab.topology import Host, quiet

_RATE = 1e6  # bit/s; far below a class, and what a machine that is busy can carry
_ENOUGH = 100  # packets at a gateway that tell what it does with a tunnel's
_CLIENT, _MEMBER, _STRANGER = "100.64.1.10", "203.0.113.10", "198.51.100.10"
_INNER, _OUTER = "02:00:00:00:02:01", "02:00:00:00:02:02"  # of the hosts


@dataclass(frozen=True)
class Gateway:
    """One of the two; `place` is its last byte in each of its networks."""

    place: int
    namespace: Namespace
    folder: Path

    @property
    def gateway(self) -> Namespace:
        return self.namespace

    def mac(self, side: int) -> str:
        return f"02:00:00:00:0{side}:{self.place:02x}"


@dataclass(frozen=True)
class Pair:
    client: Host
    member: Host
    stranger: Host
    gateways: tuple[Gateway, Gateway]

    def move_to(self, gateway: Gateway) -> None:
        """Everything takes its way by this one from now on."""
        inner, outer = f"100.64.1.{gateway.place}", f"203.0.113.{gateway.place}"
        self.client.namespace.ip(f"route replace default via {inner}")
        self.member.namespace.ip(f"route replace 100.64.1.0/24 via {outer}")


def _plug(
    switch: Namespace, bridge: str, host: Namespace, device: str, mac: str
) -> None:
    """A wire from `device` of a host to a port of the bridge."""
    port = f"{host.name[:8]}-{device}"
    host.ip(
        f"link add {device} address {mac} type veth peer name {port} "
        f"netns {switch.path}",
        f"link set {device} up",
    )
    switch.ip(f"link set {port} master {bridge} up")


@pytest.fixture
def pair() -> Iterator[Pair]:
    with contextlib.ExitStack() as stack:
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="vpngate-"))
        )
        made: dict[str, Namespace] = {}
        for name in ("switch", "client", "outside", "first", "second"):
            made[name] = Namespace(name, folder)
            stack.callback(made[name].close)
            quiet(made[name])
        switch, client, outside = (made[n] for n in ("switch", "client", "outside"))
        for bridge in ("inner", "outer"):
            switch.ip(f"link add {bridge} type bridge", f"link set {bridge} up")
        _plug(switch, "inner", client, "eth0", _INNER)
        _plug(switch, "outer", outside, "eth0", _OUTER)
        client.ip(f"addr add {_CLIENT}/24 dev eth0")
        outside.ip(*(f"addr add {a}/24 dev eth0" for a in (_MEMBER, _STRANGER)))
        gateways = tuple(
            Gateway(place, made[name], folder)
            for place, name in enumerate(("first", "second"), 1)
        )
        for each in gateways:
            own, place = each.namespace, each.place
            _plug(switch, "inner", own, "lan0", each.mac(3))
            _plug(switch, "outer", own, "wan0", each.mac(4))
            own.sysctl("net.ipv4.ip_forward", 1)
            # Neighbours that need no discovery: its first question may get lost.
            own.ip(
                f"addr add 100.64.1.{place}/24 dev lan0",
                f"addr add 203.0.113.{place}/24 dev wan0",
                f"addr add 198.51.100.{place}/24 dev wan0",
                f"neigh add {_CLIENT} lladdr {_INNER} dev lan0",
                f"neigh add {_MEMBER} lladdr {_OUTER} dev wan0",
                f"neigh add {_STRANGER} lladdr {_OUTER} dev wan0",
            )
            client.ip(f"neigh add 100.64.1.{place} lladdr {each.mac(3)} dev eth0")
            outside.ip(f"neigh add 203.0.113.{place} lladdr {each.mac(4)} dev eth0")
        settle(*made.values())
        first, second = gateways
        yield Pair(
            Host(client, _CLIENT, "", _INNER, first.mac(3)),
            Host(outside, _MEMBER, "", _OUTER, first.mac(4)),
            Host(outside, _STRANGER, "", _OUTER, first.mac(4)),
            (first, second),
        )


def passed(gateway: Daemon) -> float:
    return gateway.metric("vpngate_traffic_packets_total")


def slowed(gateway: Daemon) -> float:
    return gateway.metric("vpngate_throttled_packets_total")


def wait_for_more(gateway: Daemon, *, slower: bool) -> None:
    """Wait until enough more has passed a gateway, or its slower class."""
    count = slowed if slower else passed
    before = count(gateway)
    gateway.wait_until(lambda: count(gateway) >= before + _ENOUGH, "more packets")


def test_verdicts_stay_behind_and_the_registered_lose_nothing(pair: Pair) -> None:
    with contextlib.ExitStack() as stack:
        pair.move_to(pair.gateways[0])
        first, second = (
            stack.enter_context(
                daemon(each.namespace, enforcing_settings(each, f"daemon{each.place}"))
            )
            for each in pair.gateways
        )
        registered, other = (
            stack.enter_context(wireguard.tunnel(pair.client, server))
            for server in (pair.member, pair.stranger)
        )
        first.wait_for_flow("wireguard", "allow")
        first.wait_until(
            lambda: first.metric("vpngate_throttled_flows") == 1, "the verdict"
        )
        # The control takes the same way past the tunnels, which vpngate has no part in.
        kept, _, control = (
            stack.enter_context(load.stream(near, far, rate=_RATE))
            for near, far in (
                (registered.client, registered.server),
                (other.client, other.server),
                (pair.client.at(), pair.member.at()),
            )
        )
        wait_for_more(first, slower=True)

        pair.move_to(pair.gateways[1])
        wait_for_more(second, slower=False)
        assert second.metric("vpngate_throttled_flows") == 0
        assert slowed(second) == 0, "free until its next handshake"

        other.shake_hands()
        wait_for_more(second, slower=True)

        # The first still has its verdict: an idle one ends after minutes.
        pair.move_to(pair.gateways[0])
        wait_for_more(first, slower=True)
        told = [stream.stop() for stream in (kept, control)]
        assert told[0].share >= rates.ENOUGH * told[1].share
        assert told[0].sent > _ENOUGH
