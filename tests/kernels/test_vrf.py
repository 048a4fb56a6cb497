# SPDX-License-Identifier: GPL-2.0-or-later
"""What only a VRF has: a device that no packet passes, and others outside of it.

    subscriber ── lan2 ┐           ┌ lan5  stranger
                       ├── vrf0 ───┤
    neighbour ─── lan4 ┘           └ lan6  member

    outsider ──── lan7 ── no VRF ── lan8   his own stranger

outsider and his stranger have the very addresses of subscriber and stranger.

Collected by `make kernels` alone: not every machine's kernel has VRFs.
"""

import contextlib
import json
from collections.abc import Iterator

import pytest

from tests.kernels.kinds import KINDS, Link, Site, build, lay_plain
from tests.lab import forging, handshakes, load, victims
from tests.lab.daemon import Daemon, daemon, enforcing_settings
from tests.lab.handshakes import Opening
from tests.lab.namespaces import Namespace, settle, wait_until
from tests.lab.topology import Host, quiet
from vpngate.packets import Transport

_LITTLE = 50e3  # bit/s
_ENOUGH = 20  # packets
_SEEN = """
table netdev seen {{
    chain in_{0} {{ type filter hook ingress device "{0}" priority 0; counter; }}
    chain out_{0} {{ type filter hook egress device "{0}" priority 0; counter; }}
}}
"""


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with build(KINDS["vrf"]) as built:
        yield built


def _packets(gateway: Namespace, device: str) -> list[int]:
    """What the hooks of a device have seen: ingress and egress."""
    listed = json.loads(gateway.run("nft", "-j", "list", "table", "netdev", "seen"))
    rules = [each["rule"] for each in listed["nftables"] if "rule" in each]
    return [
        rule["expr"][0]["counter"]["packets"]
        for way in ("in", "out")
        for rule in rules
        if rule["chain"] == f"{way}_{device}"
    ]


def test_no_packet_passes_the_hooks_of_the_vrf_itself(site: Site) -> None:
    """Why it is left alone. Those of its ports see all."""
    for device in ("vrf0", "lan2"):
        site.gateway.run("nft", "-f", "-", stdin=_SEEN.format(device))
    ends = site.subscriber.at(), site.stranger.at()
    with load.exchange(*ends, up=_LITTLE, down=_LITTLE) as exchange:
        wait_until(
            lambda: min(_packets(site.gateway, "lan2")) >= _ENOUGH, "packets at a port"
        )
        exchange.stop()
    assert _packets(site.gateway, "vrf0") == [0, 0]
    site.gateway.run("nft", "delete", "table", "netdev", "seen")


@pytest.fixture(scope="module")
def outside(site: Site) -> Iterator[tuple[Host, Host]]:
    """Two hosts outside the VRF with the addresses of subscriber and stranger."""
    with contextlib.ExitStack() as stack:
        made = []
        for number, like in ((7, site.subscriber), (8, site.stranger)):
            namespace = Namespace(f"outside-{number}", site.folder)
            stack.callback(namespace.close)
            quiet(namespace)
            macs = (f"02:00:00:00:0{number}:0{end}" for end in (1, 2))
            host = Host(namespace, like.ipv4, like.ipv6, *macs)
            lay_plain(Link(number, host, site.gateway, stack))
            made.append(host)
        settle(*(host.namespace for host in made))
        yield made[0], made[1]


def _shake_hands(client: Host, server: Host, opening: Opening) -> None:
    """Both halves, each by the host whose address it has."""
    ends = client.ipv4, server.ipv4
    flow = forging.Flow(*ends, 40_000, opening.port, opening.transport)
    with forging.mouth(client) as near, forging.mouth(server) as far:
        forging.tell(near, flow, opening.request, back=False)
        forging.tell(far, flow, opening.answer, back=True)


@contextlib.contextmanager
def _running(site: Site, name: str, *interfaces: str) -> Iterator[Daemon]:
    settings = enforcing_settings(site, name)
    settings.change(gateway={"interfaces": list(interfaces)})
    with daemon(site.gateway, settings) as started:
        yield started


def test_who_has_the_same_address_outside_gives_nobody_a_verdict(
    site: Site, outside: tuple[Host, Host]
) -> None:
    """A handshake as good as any, but for a flow that is another one's in the VRF."""
    with _running(site, "outside", "lan7") as running:
        _shake_hands(*outside, handshakes.wireguard())
        running.wait_for_flow("wireguard", "throttle")
    with _running(site, "both", "lan2", "lan7") as running:
        assert set(running.ask("status")["interfaces_left_alone"]) == {"lan7"}
        _shake_hands(*outside, handshakes.wireguard())
        # What is seen comes after what is not, and both in their order.
        _shake_hands(site.subscriber, site.stranger, handshakes.openvpn())
        running.wait_for_flow("openvpn", "throttle")
        assert victims.verdicts(running)["wireguard"] == 0


def test_nobody_outside_speaks_for_who_is_in_the_vrf(
    site: Site, outside: tuple[Host, Host]
) -> None:
    """There is no way back to the neighbour, but in the VRF."""
    opening = handshakes.wireguard()
    ends = site.neighbour.ipv4, site.member.ipv4
    flow = forging.Flow(*ends, 40_000, opening.port, Transport.UDP)
    with (
        _running(site, "forger", "lan7") as running,
        forging.mouth(outside[0]) as mouth,
    ):
        forging.tell(mouth, flow, opening.request, back=False)
        forging.tell(mouth, flow, opening.answer, back=True)
        name = "vpngate_reverse_path_failed_packets_total"
        running.wait_until(
            lambda: running.metric(name) == len(ends), "two forgeries that are counted"
        )
        assert victims.verdicts(running)["wireguard"] == 0
