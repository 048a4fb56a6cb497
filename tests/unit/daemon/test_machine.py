# SPDX-License-Identifier: GPL-2.0-or-later
"""Which interfaces are attached, which are left alone, and where none may act."""

from collections.abc import Iterable

import pytest

from tests.unit.daemon.gatehouse import config
from vpngate.daemon import machine
from vpngate.daemon.machine import forgeable, insist, left_alone, matched, networks
from vpngate.daemon.snapshot import LeftAlone, Machine
from vpngate.errors import MissingInterface, Problem, Refused
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


def test_no_ifb_is_matched_ours_or_anothers() -> None:
    links = {
        link.name: link
        for link in (
            LAN0,
            Link(8, "ifb-vpngate.7", up=True, hardware=1, kind="ifb"),
            Link(9, "ifb-other", up=True, hardware=1, kind="ifb"),
        )
    }
    assert matched(config('[gateway]\ninterfaces = ["*"]\n'), links) == ("lan0",)


@pytest.mark.parametrize("reverse_path", ["strict", "hooks"])
@pytest.mark.parametrize(
    ("lower", "upper"),
    [(LAN0, VLAN), (LAN0, MACVLAN), (port_of(BRIDGE), BRIDGE), (port_of(VRF), VRF)],
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


def test_a_name_that_is_left_alone_is_not_missing() -> None:
    there = Machine(left_alone=(LeftAlone("lan0", "br0 stands on it", "name br0"),))
    insist(config(), there)
    with pytest.raises(MissingInterface, match="lan0"):
        insist(config(), Machine())


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
        machine, "without_ipv4_filter", lambda names: [n for n in names if n in loose]
    )
    monkeypatch.setattr(machine, "forwards_ipv6", lambda: ipv6)
    monkeypatch.setattr(machine, "filters_ipv6", lambda: rule)
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


@pytest.mark.parametrize(
    "text", [UPLINK, ENFORCING.replace('"uplink"', '"subscriber"')]
)
def test_observing_or_on_the_subscriber_side_it_does_not(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    assert found(monkeypatch, text, loose=["lan0"], ipv6=True) == []


def test_the_remedy_can_be_typed_whatever_an_interface_is_called(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """sysctl takes dots for slashes: those of a VLAN's name are none."""
    monkeypatch.setattr(machine, "without_ipv4_filter", list)
    monkeypatch.setattr(machine, "forwards_ipv6", lambda: False)
    (problem,) = forgeable(config(ENFORCING), {"lan0.7": VLAN})
    assert "net/ipv4/conf/lan0.7/rp_filter" in problem.remedy


def test_a_daemon_that_could_be_deceived_does_not_start() -> None:
    problem = Problem("interface lan0", "takes anything", "mend it")
    with pytest.raises(Refused, match="lan0"):
        insist(config(), Machine(("lan0",), forgeable=(problem,)))


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
