# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs that stand by filters of clsact, for kernels without links.

Knows that a filter outlives whoever put it there, so that everything it has to know is
read from the kernel, by our own marks; and that clsact may be somebody else's. Does not
know what else keeps a program off an interface (`bpf/in_the_way.py`).

While clsact is hung in, or taken away, the kernel empties the queues of the interface
and sends nothing: so that is done once, at the beginning and at the end. Where programs
leave an interface for a while it stays, and only this process knows then whose it is.
"""

import errno
from collections.abc import Collection

from vpngate.errors import KernelRefused, Problem
from vpngate.kernel.bpf import marks, programs
from vpngate.kernel.programmed.attachments.attachment import Attachment, Standing
from vpngate.kernel.wire import tc
from vpngate.kernel.wire.channel import Change, Channel
from vpngate.kernel.wire.failures import Failure
from vpngate.kernel.wire.links import What
from vpngate.packets import HookPoint

_GONE = frozenset({errno.ENOENT, errno.ENODEV, errno.EINVAL})
_CLSACT = "clsact"


class ByFilters(Attachment):
    """The filters of one table."""

    lasting = True
    announced: Collection[What] = (What.FILTER, What.FILTER_GONE, What.CLSACT_GONE)

    def __init__(self, channel: Channel, table: str) -> None:
        self._channel = channel
        self._table = table
        self._kept: set[int] = set()  # where clsact is ours, and no filter says so

    @property
    def kept(self) -> Collection[int]:
        """Where clsact waits for filters of ours."""
        return self._kept.copy()

    def stand_at(self, index: int, those: Standing) -> None:
        """Hang clsact in where there is none; what a dead daemon left is taken over.

        Only if it has a filter of ours that says so is a clsact that is there ours.
        """
        kind = tc.kind_at(self._channel, index, tc.CLSACT)
        if not kind:
            kind = self._hang(index)
        if kind != _CLSACT:
            told = f"has the queueing discipline {kind}, where clsact would stand"
            raise KernelRefused(Problem("filters", told))
        ours, found = index in self._kept, self._found(index)
        hung = ours or any(map(marks.tells_of_clsact, found.values()))
        name = marks.name(self._table, hung=hung)
        changes = []
        for hook, program in those.items():
            there = found.get(hook)
            if there and (there.program, there.name) == (programs.id_of(program), name):
                continue
            place, instead = marks.place(index, hook), there is not None
            data = tc.new_classifier(place, program, name, instead=instead)
            changes.append(Change(data, f"filter at {hook.name.lower()}"))
        _insist(self._channel.each(changes))
        self._kept.discard(index)

    def stands_at(self, index: int, those: Standing) -> bool:
        """Ask for our filter at each side."""
        found = self._found(index)
        return found.keys() == those.keys() and all(
            found[hook].program == programs.id_of(program)
            for hook, program in those.items()
        )

    def leave(self, index: int) -> None:
        """Delete our filters and no more; whether clsact is ours is noted."""
        found = self._found(index)
        if any(map(marks.tells_of_clsact, found.values())):
            self._kept.add(index)
        changes = [
            Change(tc.delete_classifier(marks.place(index, hook)), "filter")
            for hook in found
        ]
        _insist(self._channel.each(changes), but=_GONE)

    def vacate(self, index: int) -> None:
        """Delete them, then clsact, if it is ours and nothing is in it by then."""
        self.leave(index)
        if index in self._kept and not self._holds_any(index):
            change = Change(tc.delete_clsact(index), _CLSACT)
            _insist(self._channel.each([change]), but=_GONE)
        self._kept.discard(index)

    def forget(self, index: int) -> None:
        """Nothing is held."""
        self._kept.discard(index)

    def lost(self, index: int) -> None:
        """If there is a clsact again it is not ours."""
        self._kept.discard(index)

    def left_behind(self) -> list[int]:
        """The interfaces at which filters of the table stand, a dead daemon's too."""
        there = tc.interfaces_with_clsact(self._channel)
        return [index for index in there if self._found(index)]

    def _hang(self, index: int) -> str:
        """Hang clsact in, alone; what stands there then: somebody may be quicker."""
        self._kept.discard(index)
        failures = self._channel.each([Change(tc.new_clsact(index), _CLSACT)])
        if not failures:
            self._kept.add(index)
            return _CLSACT
        _insist(failures, but=frozenset({errno.EEXIST}))
        return tc.kind_at(self._channel, index, tc.CLSACT)

    def _found(self, index: int) -> dict[HookPoint, tc.Classifier]:
        places = [marks.place(index, hook) for hook in HookPoint]
        there = zip(HookPoint, tc.classifiers(self._channel, places), strict=True)
        return {h: one for h, one in there if one and marks.is_marked(one, self._table)}

    def _holds_any(self, index: int) -> bool:
        sides = marks.SIDES.values()
        return any(tc.filters_at(self._channel, index, side) for side in sides)


def _insist(failures: Collection[Failure], but: Collection[int] = frozenset()) -> None:
    """Raise the first of what failed, unless it is one that is as good as done."""
    for one in failures:
        if one.number not in but:
            raise KernelRefused(Problem(one.what, str(one)))
