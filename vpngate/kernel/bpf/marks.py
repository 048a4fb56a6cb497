# SPDX-License-Identifier: GPL-2.0-or-later
"""What filters of ours at interfaces are known by, also when their daemon is gone.

Knows their preference, handle and name; does not know how they come and go. A name says
whose table it belongs to, and whether the clsact that it hangs in is ours as well.
"""

from typing import Protocol

from vpngate.kernel.wire import tc
from vpngate.packets import HookPoint

SIDES = {
    HookPoint.INGRESS: tc.CLSACT_INGRESS,
    HookPoint.EGRESS: tc.CLSACT_EGRESS,
}
# Of filters the one with the lowest preference is asked first. What gets its own from
# the kernel comes before ours: it counts down from 49152, or from what is behind that.
PREFERENCE = 65500
HANDLE = 0x7667  # "vg"
_OURS, _AND_CLSACT = "vpngate", "+clsact"


def place(index: int, hook: HookPoint) -> tc.Place:
    """Where a filter of ours is, if there is one."""
    return tc.Place(index, HANDLE, SIDES[hook], PREFERENCE << 16)


def name(table: str, *, hung: bool) -> str:
    """What a filter of that table is called; `hung`: clsact came with it."""
    return f"{_OURS}:{table}" + (_AND_CLSACT if hung else "")


class Named(Protocol):
    """A filter that says what it is called."""

    @property
    def preference(self) -> int:
        """The place in its row."""
        ...

    @property
    def handle(self) -> int:
        """What tells it from others of that preference."""
        ...

    @property
    def name(self) -> str:
        """Empty for kinds that have none."""
        ...


def is_marked(one: Named, table: str) -> bool:
    """Whether a filter is one of that table."""
    stands = one.preference, one.handle
    ours = name(table, hung=True), name(table, hung=False)
    return stands == (PREFERENCE, HANDLE) and one.name in ours


def table_of(one: Named) -> str | None:
    """The table whose a filter with our marks is, whichever; None for any other."""
    stands = one.preference, one.handle
    ours, _, table = one.name.removesuffix(_AND_CLSACT).partition(":")
    marked = stands == (PREFERENCE, HANDLE) and ours == _OURS
    return table if marked and table else None


def tells_of_clsact(one: tc.Classifier) -> bool:
    """Whether the clsact that one of ours hangs in came with it."""
    return one.name.endswith(_AND_CLSACT)
