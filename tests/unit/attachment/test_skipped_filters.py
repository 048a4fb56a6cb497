# SPDX-License-Identifier: GPL-2.0-or-later
"""Whose filters throttled packets would pass by, also below an interface."""

from collections.abc import Mapping

import pytest

from tests.unit.daemon.gatehouse import config
from vpngate.attachment import skipped_filters as room
from vpngate.errors import KernelRefused, Problem
from vpngate.kernel.neighbours import Filter
from vpngate.kernel.wire.links import Link

BRIDGE = Link(10, "br0", up=True, hardware=1, kind="bridge")
BOND = Link(11, "bond0", up=True, hardware=1, master=10, kind="bond")
LAN0 = Link(2, "lan0", up=True, hardware=1, master=11)
WAN0 = Link(3, "wan0", up=True, hardware=1)
VLAN = Link(5, "wan0.7", up=True, hardware=1, parent=3, kind="vlan")
LINKS = {link.name: link for link in (BRIDGE, BOND, LAN0, WAN0, VLAN)}
ACTING, CHOOSING = (Filter(0, 0, 1, "u32", 0x800, kinds) for kinds in (("mirred",), ()))
WHOLE = '[gateway]\ninterfaces = ["br0", "wan0*"]\n'


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> dict[int, Filter | KernelRefused]:
    """What stands at egress, by interface."""
    there: dict[int, Filter | KernelRefused] = {}

    def asked(_: object, index: int) -> list[Filter]:
        found = there.get(index)
        if isinstance(found, KernelRefused):
            raise found
        return [] if found is None else [found]

    monkeypatch.setattr(room, "egress_filters", asked)
    return there


def skipped(text: str = "") -> Mapping[str, str]:
    found = room.skipped_filters(config(WHOLE + text), LINKS, ["br0", "wan0.7"])
    assert all(name == one.interface for name, one in found.items())
    return {name: one.reason for name, one in found.items()}


@pytest.mark.parametrize(
    ("at", "interface", "who"),
    [
        (BRIDGE, "br0", "it has"),
        (BOND, "br0", "bond0 below it has"),
        (LAN0, "br0", "lan0 below it has"),
        (VLAN, "wan0.7", "it has"),
        (WAN0, "wan0.7", "wan0 below it has"),
    ],
)
def test_what_acts_on_the_way_out_counts_wherever_it_stands(
    kernel: dict[int, Filter | KernelRefused], at: Link, interface: str, who: str
) -> None:
    kernel[at.index] = ACTING
    [(name, reason)] = skipped().items()
    assert (name, reason.startswith(who)) == (interface, True)
    assert "accept_skipped_filters" in reason


def test_nobody_is_told_to_accept_what_no_program_does(
    kernel: dict[int, Filter | KernelRefused],
) -> None:
    kernel[BRIDGE.index] = ACTING
    [(_, reason)] = skipped('plane = "ebpf"\n').items()
    assert "accept_skipped_filters" not in reason


def test_what_only_chooses_classes_is_not_skipped(
    kernel: dict[int, Filter | KernelRefused],
) -> None:
    kernel |= {link.index: CHOOSING for link in LINKS.values()}
    assert skipped() == {}


@pytest.mark.parametrize(
    "text", ["accept_skipped_filters = true\n", '[capture]\nsource = "mirror"\n']
)
def test_who_accepts_it_or_slows_nobody_is_asked_nothing(
    kernel: dict[int, Filter | KernelRefused], text: str
) -> None:
    kernel[BRIDGE.index] = ACTING
    assert skipped(text) == {}


def test_one_that_cannot_be_read_holds_up_no_other(
    kernel: dict[int, Filter | KernelRefused],
) -> None:
    kernel[LAN0.index] = KernelRefused(Problem("filters", "changed each time"))
    kernel[WAN0.index] = CHOOSING
    [(name, reason)] = skipped().items()
    assert name == "br0"
    assert "cannot be read" in reason
