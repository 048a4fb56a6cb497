# SPDX-License-Identifier: GPL-2.0-or-later
"""The flows that are throttled: verdicts in the table, classes on the ifbs, in step.

Knows in which order verdict and class come and go, so that no verdict leads to a
class that is not there; does not know rules or the dead man's switch. One thread
alone may use it. Times are of a clock that never jumps, in seconds.
"""

import errno
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain, islice

from vpngate.kernel.detour.classes import Classes
from vpngate.kernel.detour.covering import ends_among
from vpngate.kernel.detour.ifbs import Shaper
from vpngate.kernel.detour.verdict_elements import verdict_elements
from vpngate.kernel.detour.verdicts import (
    FlowId,
    HeldVerdict,
    Verdicts,
    identity,
)
from vpngate.kernel.table.owned import OwnedTable
from vpngate.kernel.wire import elements
from vpngate.kernel.wire.channel import Change, Rejected
from vpngate.kernel.wire.elements import Element
from vpngate.packets import Family
from vpngate.policy import Throttle
from vpngate.prefixes.intervals import Intervals

# Each may need a class, which takes its time: others must have their turn, too.
FLOWS_A_STEP = 12
_AT_ONCE = 2000  # flows a transaction where no class is made
_MOVED_AT_ONCE = 150  # of verdicts whose ifb is another now
# The kernel's word for an element that is there and leads elsewhere.
_OTHERWISE = frozenset({errno.EEXIST, errno.EBUSY})


class Throttled:
    """All verdicts of one table."""

    def __init__(self, table: OwnedTable, shaper: Shaper, most: int) -> None:
        self.refused = 0  # verdicts beyond `most`: their flows are left alone
        self._most = most
        self._table = table
        self._shaper = shaper
        self._verdicts = Verdicts()
        self._to_move: Iterator[FlowId] = iter(())
        self.classes = Classes(shaper)

    @property
    def live(self) -> dict[Family, int]:
        """Verdicts in force, by family."""
        return self._verdicts.live

    @property
    def shared(self) -> int:
        """Subscribers that share a bucket for want of class ids."""
        return self._verdicts.shared

    def throttle(self, flows: Iterable[Throttle], now: float) -> None:
        """Hand verdicts to the kernel; those that it has start their time anew.

        No more than `FLOWS_A_STEP` at once, or others wait too long for their turn.
        """
        noted: list[tuple[HeldVerdict | None, HeldVerdict]] = []
        fresh: list[FlowId] = []
        for flow in flows:
            key = identity(flow)
            old = self._verdicts.get(key)
            if old is None:
                if len(self._verdicts) >= self._most:
                    self.refused += 1
                    continue
                fresh.append(key)
            noted.append((old, self._verdicts.add(flow, now)))
        self.classes.make(held.place for _, held in noted)
        changes: list[Change] = []
        for old, held in noted:
            if old is not None:
                changes += self._ending(old)
            held.device = self._shaper.index_of(held.place)
            changes += self._adding(held)
        try:
            self._table.commit(changes)
        except Rejected as error:
            if error.number in _OTHERWISE:
                keys = [identity(held.flow) for _, held in noted]
                self._one_by_one(keys, self._give_anew)
                return
            for key in fresh:
                self._verdicts.forget(key)
            raise

    def _one_by_one(
        self, keys: Sequence[FlowId], change: Callable[[HeldVerdict], None]
    ) -> None:
        """Change verdicts of which the kernel has something that we did not know of."""
        for key in keys:
            held = self._verdicts.get(key)
            if held is None:
                continue
            try:
                change(held)
            except Rejected:  # what was to be deleted ended this very moment
                change(held)

    def _give_anew(self, held: HeldVerdict) -> None:
        self._table.commit([*self._deleting_found(held), *self._adding(held)])

    def _take_out(self, held: HeldVerdict) -> None:
        self._table.commit(self._deleting_found(held))

    def _deleting_found(self, held: HeldVerdict) -> list[Change]:
        """The changes that delete what the kernel has of a verdict, whatever it is."""
        places = self._elements(held)
        there = self._table.find([(name, element.key) for name, element in places])
        changes: list[Change] = []
        for (name, element), answer in zip(places, there, strict=True):
            if answer is not None:
                changes += self._deleting(name, element)
        return changes

    def release(self, chosen: Callable[[Throttle], bool], now: float) -> int:
        """End the verdicts that a predicate picks; returns how many."""
        keys = self._verdicts.chosen(chosen)
        for start in range(0, len(keys), _AT_ONCE):
            self._end(keys[start : start + _AT_ONCE], now)
        return len(keys)

    def withdraw(self, flows: Iterable[Throttle], now: float) -> None:
        """End these verdicts, of those that are in force."""
        keys = [
            key
            for key in map(identity, flows)
            if (held := self._verdicts.get(key)) is not None and not held.ended
        ]
        self._end(keys, now)

    def _end(self, keys: Sequence[FlowId], now: float) -> None:
        try:
            self._table.commit(self.ending(keys))
        except Rejected as error:
            if error.number not in _OTHERWISE:
                raise
            self._one_by_one(keys, self._take_out)
        self.ended(keys, now)

    def covered(self, spared: Intervals) -> list[FlowId]:
        """The flows in force that have an end among these addresses."""
        flows = [held.flow for held in self._verdicts if not held.ended]
        hit = ends_among(flows, spared)
        return [identity(flows[index]) for index in hit.nonzero()[0]]

    def everything(self) -> list[FlowId]:
        """All flows in force."""
        return self._verdicts.chosen(lambda _: True)

    def ending(self, keys: Iterable[FlowId]) -> list[Change]:
        """The changes that end verdicts, whether or not the kernel has ended them."""
        changes: list[Change] = []
        for key in keys:
            held = self._verdicts.get(key)
            if held is not None:
                changes += self._ending(held)
        return changes

    def ended(self, keys: Iterable[FlowId], now: float) -> None:
        """Note that the changes of `ending` were committed."""
        for key in keys:
            self._verdicts.end(key, now)

    def lost(self, number: int) -> None:
        """Have an ifb's classes made again, and the verdicts lead to the new one."""
        self.classes.lost(number)
        self._to_move = chain(self._to_move, self._verdicts.on(number))

    def rebuilt(self) -> None:
        """Have the classes of all verdicts made, on ifbs that are new."""
        self.classes.rebuild(self._verdicts.places)

    def dismantled(self) -> None:
        """Have no classes any more: the ifbs go."""
        self.classes.rebuild(())
        self._to_move = iter(())

    def move(self) -> bool:
        """Have a few more verdicts lead to the ifb as it is; whether more may have to.

        Their time starts anew. Those that were made since lead there already.
        """
        astray: list[HeldVerdict] = []
        some = list(islice(self._to_move, _MOVED_AT_ONCE))
        for key in some:
            held = self._verdicts.get(key)
            if held is None or held.ended:
                continue
            if held.device != self._shaper.index_of(held.place):
                astray.append(held)
        if not astray:
            return bool(some)
        before = [held.device for held in astray]
        changes = [change for held in astray for change in self._ending(held)]
        for held in astray:
            held.device = self._shaper.index_of(held.place)
            changes += self._adding(held)
        try:
            self._table.commit(changes)
        except Rejected as error:
            if error.number not in _OTHERWISE:
                for held, device in zip(astray, before, strict=True):
                    held.device = device
                raise
            keys = [identity(held.flow) for held in astray]
            self._one_by_one(keys, self._give_anew)
        return True

    def look_after(self, now: float) -> None:
        """Learn which verdicts have ended, and remove classes nobody needs."""
        keys = self._verdicts.due(now)
        try:
            for start in range(0, len(keys), _AT_ONCE):
                self._look_after(keys[start : start + _AT_ONCE], now)
        except Exception:
            for key in keys:  # or nobody would ever ask about them again
                self._verdicts.postpone(key, now)
            raise
        self.classes.remove_idle(set(self._verdicts.places), now)

    def _look_after(self, keys: Sequence[FlowId], now: float) -> None:
        places = [
            [(name, element.key) for name, element in self._elements(held)]
            for key in keys
            if (held := self._verdicts.get(key))
        ]
        answers = iter(self._table.find([place for pair in places for place in pair]))
        mending: list[Change] = []
        for key in keys:
            held = self._verdicts.get(key)
            if held is not None:
                found = [next(answers) for _ in held.flow.directions]
                if changes := self._settle(key, held, found, now):
                    mending += changes
                    self._verdicts.postpone(key, now)  # to see that it is mended
        with suppress(Rejected):  # one of them ended this very moment
            self._table.commit(mending)

    def _settle(
        self,
        key: FlowId,
        held: HeldVerdict,
        answers: Sequence[bytes | None],
        now: float,
    ) -> list[Change]:
        """Take in what the kernel still has of a verdict; the changes that mend it.

        There is something to mend when packets came one way only for a while, or
        when one was in flight as the verdict was ended.
        """
        pairs = zip(self._elements(held), answers, strict=True)
        alive = [(place, answer) for place, answer in pairs if answer is not None]
        if not alive:
            self._verdicts.forget(key)
            return []
        if not held.ended:
            left = [elements.remaining(answer) or 0.0 for _, answer in alive]
            self._verdicts.postpone(key, now + max(left))
            if len(alive) == len(answers):
                return []
        changes: list[Change] = []
        for (name, element), _ in alive:
            changes += self._deleting(name, element)
        return changes if held.ended else changes + self._adding(held)

    def _adding(self, held: HeldVerdict) -> list[Change]:
        changes: list[Change] = []
        for name, element in self._elements(held):
            changes += elements.add(self._table.name, name, [element])
        return changes

    def _ending(self, held: HeldVerdict) -> list[Change]:
        """Add, then delete: deleting alone fails if the kernel was faster."""
        changes = self._adding(held)
        for name, element in self._elements(held):
            changes += self._deleting(name, element)
        return changes

    def _deleting(self, name: str, element: Element) -> list[Change]:
        return elements.delete(self._table.name, name, [Element(element.key)])

    def _elements(self, held: HeldVerdict) -> list[tuple[str, Element]]:
        return verdict_elements(held, self._shaper.class_id)
