# SPDX-License-Identifier: GPL-2.0-or-later
"""Which interfaces are attached, which are left alone, and where none may act."""

import time
from collections.abc import Iterable

import pytest

from tests.unit.daemon.gatehouse import config
from vpngate.attachment import look
from vpngate.attachment.look import (
    awaited,
    forgeable,
    insist,
    left_alone,
    matched,
    networks,
)
from vpngate.attachment.machine import LeftAlone, Machine
from vpngate.errors import MissingInterface, Problem, Refused
from vpngate.kernel.shaping.devices.naming import ADDRESS, FAR_ADDRESS
from vpngate.kernel.wire.addresses import InterfaceAddress, current_addresses
from vpngate.kernel.wire.links import Link, current_links
from vpngate.packets import parse_address

BRIDGE = Link(10, "br0", up=True, hardware=1, kind="bridge")
BOND = Link(11, "bond0", up=True, hardware=1, kind="bond")
VRF = Link(12, "red", up=True, hardware=1, kind="vrf")
LAN0 = Link(2, "lan0", up=True, hardware=1)
WAN0 = Link(3, "wan0", up=True, hardware=1)
DOWN = Link(4, "lan8", up=False, hardware=1)
VLAN = Link(5, "lan0.7", up=True, hardware=1, parent=2, kind="vlan")
MACVLAN = Link(6, "lan9", up=True, hardware=1, parent=2, kind="macvlan")


def port_of(upper: Link) -> Link:
    return Link(2, "lan0", up=True, hardware=1, master=upper.index)


def alone(reverse_path: str, matched: Iterable[str], *links: Link) -> dict[str, str]:
    """What is left alone, and the interface that has its packets."""
    text = f'[gateway]\ninterfaces = ["lan*"]\nreverse_path = "{reverse_path}"\n'
    by_name = {link.name: link for link in links}
    found = left_alone(config(text), by_name, list(matched), {})
    return {one.interface: one.what.split()[0] for one in found}


@pytest.mark.parametrize(
    ("links", "strict", "hooks"),
    [
        pytest.param((LAN0,), "", "", id="bare"),
        pytest.param((port_of(BRIDGE), BRIDGE), "br0", "", id="a bridge's port"),
        pytest.param((port_of(BOND), BOND), "bond0", "", id="a bond's slave"),
        pytest.param((port_of(VRF), VRF), "", "", id="in a VRF"),
        pytest.param((LAN0, VLAN), "lan0.7", "", id="a VLAN's parent"),
        pytest.param((LAN0, MACVLAN), "", "", id="a macvlan's parent"),
    ],
)
def test_whose_packets_are_anothers_is_left_alone(
    links: tuple[Link, ...], strict: str, hooks: str
) -> None:
    assert alone("strict", ["lan0"], *links).get("lan0", "") == strict
    assert alone("hooks", ["lan0"], *links).get("lan0", "") == hooks


def test_no_shaping_device_is_matched_ours_or_anothers() -> None:
    links = {
        link.name: link
        for link in (
            LAN0,
            Link(8, "ifb-vpngate.7", up=True, hardware=1, kind="ifb"),
            *(
                Link(10 + n, f"v{n}", up=True, hardware=1, kind="veth", address=own)
                for n, own in enumerate((ADDRESS, FAR_ADDRESS))
            ),
            Link(9, "ifb-other", up=True, hardware=1, kind="ifb"),
        )
    }
    assert matched(config('[gateway]\ninterfaces = ["*"]\n'), links) == ("lan0",)


@pytest.mark.parametrize("reverse_path", ["strict", "hooks"])
@pytest.mark.parametrize(
    ("lower", "upper"),
    [(LAN0, VLAN), (LAN0, MACVLAN), (port_of(BRIDGE), BRIDGE)],
)
def test_of_two_that_stand_on_each_other_the_upper_one_is_attached(
    reverse_path: str, lower: Link, upper: Link
) -> None:
    both = [lower.name, upper.name]
    assert alone(reverse_path, both, lower, upper) == {lower.name: upper.name}


def test_where_filters_would_be_skipped_it_is_left_alone() -> None:
    by_name = {link.name: link for link in (LAN0, WAN0)}
    filtered = LeftAlone("lan0", "it has filters", "take them away")
    found = left_alone(config(), by_name, ["lan0", "wan0"], {"lan0": filtered})
    assert found == (filtered,)


def test_a_name_that_nobody_has_is_waited_for() -> None:
    text = '[gateway]\ninterfaces = ["lan0", "lan7", "ppp*"]\n'
    [one] = awaited(config(text), {"lan0": LAN0})
    assert (one.interface, one.awaited) == ("lan7", True)
    insist(config(text), Machine(("lan0",), left_alone=(one,)))


def test_behind_a_mirror_a_name_has_to_be_there() -> None:
    mirror = config('[gateway]\ninterfaces = ["lan0"]\n[capture]\nsource = "mirror"\n')
    stacked = LeftAlone("lan0", "br0 stands on it", "name br0")
    insist(mirror, Machine(left_alone=(stacked,)))
    absent = Machine(left_alone=tuple(awaited(mirror, {})))
    with pytest.raises(MissingInterface, match="lan0"):
        insist(mirror, absent)
    insist(mirror, absent, ["lan0"])  # a reload: it may come again


@pytest.mark.parametrize("name", ["ifb-other", "lan0"])
def test_where_another_ones_packets_wait_is_no_interface_of_ours(name: str) -> None:
    links = {name: Link(7, name, up=True, hardware=1, kind="ifb")}
    text = '[gateway]\ninterfaces = ["lan0", "ifb*"]\n'
    assert matched(config(text), links) == ()
    left = [one.interface for one in awaited(config(text), links) if not one.awaited]
    assert left == (["lan0"] if name == "lan0" else [])


def test_a_thousand_interfaces_are_looked_at_in_no_time() -> None:
    """What stands on each of them is looked up: 20 times as many, 20 times the time."""

    def seconds(count: int) -> float:
        links = {
            name: Link(n, name, up=True, hardware=1, parent=n - 1, kind="vlan")
            for n in range(2, count + 2)
            for name in [f"lan{n}"]
        }
        text = '[gateway]\ninterfaces = ["lan*"]\nreverse_path = "hooks"\n'
        begin = time.process_time()
        names = matched(config(text), links)
        assert len(left_alone(config(text), links, names, {})) == count - 1
        return time.process_time() - begin

    few = min(seconds(100) for _ in range(5))
    many = min(seconds(2000) for _ in range(5))
    assert many < 100 * few  # 400 times where each is compared with each


UPLINK = '[gateway]\ninterfaces = ["wan0"]\nside = "uplink"\nnat = false\n'
ENFORCING = UPLINK + 'mode = "enforce"\n'


def found(
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    *,
    loose: Iterable[str] = (),
    ipv6: bool = False,
    rule: bool = False,
) -> list[str]:
    """Where a forged source could come in; `loose` have no strict filter."""
    monkeypatch.setattr(
        look, "without_ipv4_filter", lambda names: [n for n in names if n in loose]
    )
    monkeypatch.setattr(look, "forwards_ipv6", lambda: ipv6)
    monkeypatch.setattr(look, "filters_ipv6", lambda: rule)
    links = {link.name: link for link in (LAN0, WAN0, DOWN)}
    return [p.where for p in forgeable(config(text), links)]


def test_enforcing_on_the_uplink_side_asks_for_filters_everywhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    everywhere = ("lan0", "wan0", "lan8")
    assert found(monkeypatch, ENFORCING) == []
    # On the uplinks, too, but not where nothing passes.
    where = ["interface lan0", "interface wan0"]
    assert found(monkeypatch, ENFORCING, loose=everywhere) == where
    assert found(monkeypatch, ENFORCING, ipv6=True) == ["IPv6"]
    assert found(monkeypatch, ENFORCING, ipv6=True, rule=True) == []


def test_on_the_subscriber_side_it_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    text = ENFORCING.replace('"uplink"', '"subscriber"')
    assert found(monkeypatch, text, loose=["lan0"], ipv6=True) == []


def test_observing_it_is_known_whether_a_command_may_have_it_enforce(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert found(monkeypatch, UPLINK, ipv6=True) == ["IPv6"]


def test_the_remedy_can_be_typed_whatever_an_interface_is_called(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """sysctl takes dots for slashes: those of a VLAN's name are none."""
    monkeypatch.setattr(look, "without_ipv4_filter", list)
    monkeypatch.setattr(look, "forwards_ipv6", lambda: False)
    (problem,) = forgeable(config(ENFORCING), {"lan0.7": VLAN})
    assert "net/ipv4/conf/lan0.7/rp_filter" in problem.remedy


def test_a_daemon_that_could_be_deceived_does_not_start() -> None:
    problem = Problem("interface lan0", "takes anything", "mend it")
    machine = Machine(("lan0",), forgeable=(problem,))
    with pytest.raises(Refused, match="lan0"):
        insist(config(ENFORCING), machine)
    insist(config(UPLINK), machine)


def held(text: str, link: Link, network: str = "") -> InterfaceAddress:
    address, _, length = text.partition("/")
    packed = parse_address(address)
    peer = parse_address(network) if network else packed
    return InterfaceAddress(packed, peer, int(length), link.index)


HOLDS = [
    held("100.64.1.1/22", LAN0),
    held("2001:db8:7::1/64", LAN0),
    held("fe80::1/64", LAN0),  # nobody registers it
    held("192.0.2.1/32", LAN0, network="192.0.2.77"),  # a peer, not a network
    held("198.51.100.1/24", WAN0),
]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[gateway]\ninterfaces = ["lan0"]\n', {"100.64.0.0/22", "2001:db8:7::/64"}),
        (UPLINK, set()),
    ],
)
def test_subscribers_are_in_the_networks_of_what_is_attached(
    text: str, expected: set[str]
) -> None:
    links = {link.name: link for link in (LAN0, WAN0)}
    attached = ["lan0"] if expected else ["wan0"]
    found = networks(config(text), links, attached, HOLDS)
    assert {str(each) for each in found} == expected


def test_the_kernel_tells_which_interface_has_an_address_and_how_long_it_is() -> None:
    loopback = current_links()["lo"].index
    found = {one for one in current_addresses() if one.interface == loopback}
    address = parse_address("127.0.0.1")
    assert InterfaceAddress(address, address, 8, loopback) in found
