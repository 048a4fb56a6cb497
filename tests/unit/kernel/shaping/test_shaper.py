# SPDX-License-Identifier: GPL-2.0-or-later
"""What the shaper makes of the kernel's answers, with a channel that plays them."""

import errno
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import cast

import pytest
from pyroute2.netlink.exceptions import NetlinkError

from vpngate.errors import KernelRefused, MissingFeature
from vpngate.kernel.shaping import route as shaping
from vpngate.kernel.shaping.devices.ifb_devices import IfbDevices
from vpngate.kernel.shaping.devices.naming import ADDRESS
from vpngate.kernel.shaping.shaper import Shaper
from vpngate.kernel.table.owned import OwnedTable
from vpngate.kernel.table.witness import Witness
from vpngate.kernel.wire.channel import Change, Channel
from vpngate.kernel.wire.failures import Failure
from vpngate.kernel.wire.links import Link


class Kernel:
    """Fails the changes that `fails` gives a number for."""

    def __init__(self, fails: Callable[[Change], int]) -> None:
        self._fails = fails
        self.seen: list[bytes] = []

    def each(self, changes: Sequence[Change]) -> list[Failure]:
        self.seen = [one.data for one in changes]
        return [
            Failure(one.what, number, "")
            for one in changes
            if (number := self._fails(one))
        ]

    @property
    def kinds(self) -> set[str]:
        kinds = ("htb", "tbf", "fq_codel")
        return {
            kind for kind in kinds if any(kind.encode() in one for one in self.seen)
        }


def failing(*beginning: str, number: int) -> Callable[[Change], int]:
    return lambda change: number if change.what.startswith(beginning) else 0


IFB = Link(7, "ifb-t", up=True, hardware=1, kind="ifb", address=ADDRESS)


def named(monkeypatch: pytest.MonkeyPatch, there: list[dict[str, Link]]) -> None:
    """Have these interfaces there, at one look after the other."""

    def look(_: object, names: Sequence[str]) -> list[Link | None]:
        return [*map(there.pop(0).get, names)]

    monkeypatch.setattr("vpngate.kernel.shaping.devices.ifb_devices.links_named", look)


class Route:
    """Notes what it is asked to delete; makes what is never seen."""

    def __init__(self, *, refuses: int = 0) -> None:
        self.gone: list[int] = []
        self._refuses = refuses

    def link(self, verb: str, index: int = 0, **_: object) -> None:
        if self._refuses:
            raise NetlinkError(self._refuses)
        if verb == "del":
            self.gone.append(index)

    def link_lookup(self, **_: object) -> list[int]:
        return []


def shaper(kernel: Kernel, route: Route | None = None) -> Shaper:
    witness = Witness(cast("OwnedTable", None))  # which stands nowhere yet
    asked = cast("shaping.Route", route), cast("Channel", kernel)
    one = Shaper(IfbDevices("t", *asked), *asked, witness)
    one.majors = range(0x7667, 0x7667 + 64)
    one._index[0] = 7
    one.set(5_000_000, 1522)
    one._try_queues()
    return one


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EOPNOTSUPP])
def test_a_kernel_without_fq_codel_keeps_the_queue_of_the_tbf(number: int) -> None:
    kernel = Kernel(failing("flow queue", number=number))
    shaper(kernel).add_classes([2, 3])
    assert kernel.kinds == {"htb", "tbf"}
    assert len(kernel.seen) == 2 * 2 * 2


def test_a_kernel_with_fq_codel_gets_it() -> None:
    kernel = Kernel(lambda _: 0)
    shaper(kernel).add_classes([2, 3])
    assert kernel.kinds == {"htb", "tbf", "fq_codel"}


def test_a_kernel_without_tbf_is_told_what_it_lacks() -> None:
    with pytest.raises(MissingFeature, match="sch_tbf"):
        shaper(Kernel(failing("queue", "flow queue", number=errno.ENOENT)))


def test_another_failure_is_not_taken_for_a_missing_kind() -> None:
    for fails in (
        failing("flow queue", number=errno.ENOMEM),
        failing("class", "queue", "flow queue", number=errno.ENOENT),  # no root
    ):
        with pytest.raises(KernelRefused):
            shaper(Kernel(fails))


def test_a_flow_queue_that_is_there_keeps_its_number_of_flows() -> None:
    """The kernel takes no other number for one that has one (EINVAL)."""
    flows = b"\x08\0\5\0\x10\0\0\0"
    kernel = Kernel(lambda _: 0)
    one = shaper(kernel)
    kernel._fails = lambda change: errno.EINVAL if flows in change.data else 0
    one.add_classes([2])
    assert kernel.kinds == {"htb", "tbf", "fq_codel"}
    assert not any(flows in data for data in kernel.seen)


def test_an_ifb_that_somebody_removes_at_once_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    named(monkeypatch, [{}])
    one = shaper(Kernel(lambda _: 0), Route())
    with pytest.raises(KernelRefused, match=r"ifb-t\.1"):
        one.have([1])
    assert one.numbers == [0, 1]
    assert one.index_of(1 << 11 | 1) == 0


@pytest.mark.parametrize("number", [errno.ENODEV, errno.EBUSY])
def test_an_ifb_that_somebody_else_removed_is_removed(
    monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """It is there as one looks, and gone as it is deleted; anything else is told."""
    named(monkeypatch, [{"ifb-t": IFB}, {}])
    one = shaper(Kernel(lambda _: 0), Route(refuses=number))
    if number == errno.ENODEV:
        one.remove_all()
        assert one.numbers == []
    else:
        with pytest.raises(KernelRefused, match="remove ifb-t"):
            one.remove_all()


def test_ifbs_are_removed_one_by_one_and_the_first_goes_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = replace(IFB, index=9, name="ifb-t.63")
    named(monkeypatch, [{"ifb-t": IFB, "ifb-t.63": other}, {"ifb-t": IFB}, {}])
    route = Route()
    shaper(Kernel(lambda _: 0), route).remove_all()
    assert route.gone == [9, 7]


@pytest.mark.parametrize(
    "others",
    [
        pytest.param(replace(IFB, address=b"\x02other"), id="an ifb"),
        pytest.param(replace(IFB, kind="veth"), id="no ifb"),
    ],
)
def test_what_somebody_else_has_made_since_is_neither_replaced_nor_removed(
    monkeypatch: pytest.MonkeyPatch, others: Link
) -> None:
    named(monkeypatch, [{"ifb-t": others}, {"ifb-t": others}])
    route = Route()
    one = shaper(Kernel(lambda _: 0), route)
    with pytest.raises(KernelRefused, match="ifb-t: exists") as caught:
        one.build(0)
    assert len(caught.value.lines) == 1
    assert one.index_of(0) == 0, "nothing is led there"
    one.remove_all()
    assert not route.gone
    assert one.numbers == []


def test_our_own_is_told_also_after_its_address_was_changed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    changed = replace(IFB, address=b"\x02other")
    named(monkeypatch, [{"ifb-t": changed}, {}])
    route = Route()
    one = shaper(Kernel(lambda _: 0), route)
    cast("IfbDevices", one._devices)._made[0] = changed.index
    one.remove_all()
    assert route.gone == [changed.index]
