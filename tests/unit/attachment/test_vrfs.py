# SPDX-License-Identifier: GPL-2.0-or-later
"""Of which VRF a daemon is, where interfaces are in several."""

import pytest

from tests.unit.daemon.gatehouse import config
from vpngate.attachment.look import left_alone, matched
from vpngate.kernel.wire.links import Link

RED = Link(20, "red", up=True, hardware=1, kind="vrf")
BLUE = Link(21, "blue", up=True, hardware=1, kind="vrf")
BRIDGE = Link(22, "br0", up=True, hardware=1, kind="bridge", master=RED.index)
LAN0, LAN1 = (Link(n, f"lan{n - 2}", up=True, hardware=1) for n in (2, 3))
IN_RED = Link(4, "lan2", up=True, hardware=1, master=RED.index)
ALSO_RED = Link(5, "lan3", up=True, hardware=1, master=RED.index)
IN_BLUE = Link(6, "lan4", up=True, hardware=1, master=BLUE.index)
BELOW_RED = Link(7, "lan5", up=True, hardware=1, master=BRIDGE.index)
VLAN_ON_RED = Link(8, "lan2.7", up=True, hardware=1, parent=IN_RED.index, kind="vlan")


def alone(entries: str, *links: Link, hooks: bool = False) -> set[str]:
    """What is left alone of an `interfaces` with these entries."""
    listed = ", ".join(f'"{entry}"' for entry in entries.split())
    how = "hooks" if hooks else "strict"
    read = config(f'[gateway]\ninterfaces = [{listed}]\nreverse_path = "{how}"\n')
    by_name = {link.name: link for link in links}
    found = left_alone(read, by_name, matched(read, by_name), {})
    return {one.interface for one in found}


@pytest.mark.parametrize(
    ("entries", "links", "expected"),
    [
        pytest.param("lan*", (LAN0, LAN1), "", id="no VRF"),
        pytest.param("lan*", (IN_RED, ALSO_RED, RED), "", id="one VRF"),
        pytest.param("lan*", (LAN0, IN_RED, RED), "lan2", id="the older one is first"),
        pytest.param("lan2 lan*", (LAN0, IN_RED, RED), "lan0", id="an entry is first"),
        pytest.param("lan9 lan4 lan2", (IN_RED, IN_BLUE, RED, BLUE), "lan2", id="two"),
        pytest.param("lan2 br0", (IN_RED, BRIDGE, RED), "", id="a bridge in it"),
        pytest.param("lan0 br0", (LAN0, BRIDGE, RED), "br0", id="and out of it"),
        pytest.param(
            "lan3 lan2.7", (ALSO_RED, IN_RED, VLAN_ON_RED, RED), "lan2.7", id="a VLAN"
        ),
    ],
)
def test_what_is_in_another_vrf_than_the_first_is_left_alone(
    entries: str, links: tuple[Link, ...], expected: str
) -> None:
    assert alone(entries, *links) == set(expected.split())


def test_a_bridges_port_is_in_the_bridges_vrf() -> None:
    links = (LAN0, BELOW_RED, BRIDGE, RED)
    assert alone("lan*", *links, hooks=True) == {"lan5"}
    assert alone("lan2 lan5", IN_RED, *links[1:], hooks=True) == set()


@pytest.mark.parametrize("hooks", [False, True])
def test_a_vrf_is_left_alone_and_its_ports_are_not(hooks: bool) -> None:  # noqa: FBT001
    assert alone("*", RED, IN_RED, ALSO_RED, hooks=hooks) == {"red"}


def test_what_is_left_alone_for_another_reason_is_not_the_first() -> None:
    """A bridge's port that is older than all: of no VRF, and nobody's packets."""
    port = Link(1, "lan9", up=True, hardware=1, master=30)
    bridge = Link(30, "br1", up=True, hardware=1, kind="bridge")
    assert alone("lan*", port, bridge, IN_RED, RED) == {"lan9"}


def test_masters_in_a_circle_are_no_trap() -> None:
    """As a list may say that changed while it was read."""
    one = Link(2, "lan0", up=True, hardware=1, master=3)
    two = Link(3, "lan1", up=True, hardware=1, master=2)
    assert alone("lan0", one, two, hooks=True) == set()
