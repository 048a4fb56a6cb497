# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs that stand by filters of clsact, for kernels without links.

Knows that a filter outlives whoever put it there, so that everything it has to know is
read from the kernel, by our own marks; and that clsact may be somebody else's. Does not
know what else keeps a program off an interface (`bpf/in_the_way.py`).

While clsact is hung in, or taken away, the kernel empties the queues of the interface
and sends nothing: so that is done once, at the beginning and at the end.
"""

import errno
from collections.abc import Collection

from vpngate.errors import KernelRefused, Problem
from vpngate.kernel.bpf import marks, programs
from vpngate.kernel.programmed.attachments.attachment import Attachment, Standing
from vpngate.kernel.wire import tc
from vpngate.kernel.wire.channel import Change, Channel
from vpngate.kernel.wire.links import What
from vpngate.packets import HookPoint

_GONE = frozenset({errno.ENOENT, errno.ENODEV, errno.EINVAL})
_CLSACT = "clsact"


class ByFilters(Attachment):
    """The filters of one table."""

    lasting = True
    announced: Collection[What] = (What.FILTER, What.FILTER_GONE)

    def __init__(self, channel: Channel, table: str) -> None:
        self._channel = channel
        self._table = table

    def stand_at(self, index: int, those: Standing) -> None:
        """Hang clsact in where there is none; what a dead daemon left is taken over.

        Only if it has a filter of ours that says so is a clsact that is there ours.
        """
        kind = tc.kind_at(self._channel, index, tc.CLSACT)
        if kind not in ("", _CLSACT):
            told = f"has the queueing discipline {kind}, where clsact would stand"
            raise KernelRefused(Problem("filters", told))
        found = self._found(index) if kind else {}
        hung = not kind or any(map(marks.tells_of_clsact, found.values()))
        name = marks.name(self._table, hung=hung)
        changes = [] if kind else [Change(tc.new_clsact(index), _CLSACT)]
        for hook, program in those.items():
            there = found.get(hook)
            if there and (there.program, there.name) == (programs.id_of(program), name):
                continue
            place, instead = marks.place(index, hook), there is not None
            data = tc.new_classifier(place, program, name, instead=instead)
            changes.append(Change(data, f"filter at {hook.name.lower()}"))
        if failures := self._channel.each(changes):
            raise KernelRefused(Problem(failures[0].what, str(failures[0])))

    def stands_at(self, index: int, those: Standing) -> bool:
        """Ask for our filter at each side."""
        found = self._found(index)
        return found.keys() == those.keys() and all(
            found[hook].program == programs.id_of(program)
            for hook, program in those.items()
        )

    def leave(self, index: int) -> None:
        """Delete them, or clsact with them if it is ours and nothing else is in it."""
        found = self._found(index)
        if not found:
            return
        ours = any(map(marks.tells_of_clsact, found.values()))
        if ours and not self._holds_others(index):
            changes = [Change(tc.delete_clsact(index), _CLSACT)]
        else:
            changes = [
                Change(tc.delete_classifier(marks.place(index, hook)), "filter")
                for hook in found
            ]
        failures = self._channel.each(changes)
        left = [one for one in failures if one.number not in _GONE]
        if left:
            raise KernelRefused(Problem(left[0].what, str(left[0])))

    def forget(self, index: int) -> None:
        """Nothing is held."""

    def left_behind(self) -> list[int]:
        """The interfaces at which filters of the table stand, a dead daemon's too."""
        there = tc.interfaces_with_clsact(self._channel)
        return [index for index in there if self._found(index)]

    def _found(self, index: int) -> dict[HookPoint, tc.Classifier]:
        places = [marks.place(index, hook) for hook in HookPoint]
        there = zip(HookPoint, tc.classifiers(self._channel, places), strict=True)
        return {h: one for h, one in there if one and marks.is_marked(one, self._table)}

    def _holds_others(self, index: int) -> bool:
        return any(
            not (isinstance(one, tc.Classifier) and marks.is_marked(one, self._table))
            for side in marks.SIDES.values()
            for one in tc.filters_at(self._channel, index, side)
        )
