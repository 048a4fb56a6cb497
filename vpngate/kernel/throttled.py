# SPDX-License-Identifier: GPL-2.0-or-later
"""The flows that are throttled: verdicts in the table, classes on the ifb, in step.

Knows in which order verdict and class come and go, so that no verdict leads to a
class that is not there; does not know rules or the dead man's switch. One thread
alone may use it. Times are of a clock that never jumps, in seconds.
"""

import errno
import sys
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from vpngate.kernel import elements
from vpngate.kernel.elements import Element
from vpngate.kernel.messages import Change
from vpngate.kernel.netlink import Rejected
from vpngate.kernel.owned_table import OwnedTable
from vpngate.kernel.shaper import Shaper
from vpngate.kernel.verdicts import FlowId, Held, Verdicts, minor
from vpngate.packets import Direction, Family
from vpngate.policy import Throttle
from vpngate.registry.intervals import Intervals, rows_of
from vpngate.ruleset import names

_AT_ONCE = 2000  # flows a transaction
# After its last verdict a class is kept so long: packets may still be on their way.
_REST = 2.0


class Throttled:
    """All verdicts of one table."""

    def __init__(self, table: OwnedTable, shaper: Shaper, most: int) -> None:
        self.refused = 0  # verdicts beyond `most`: their flows are left alone
        self._most = most
        self._table = table
        self._shaper = shaper
        # The root's own number must not be a queue's.
        self._verdicts = Verdicts(reserved=[shaper.major // 2])
        self._classes: dict[int, float | None] = {}  # place: idle since
        self._drops = dict.fromkeys(Direction, 0)  # of classes that are gone
        self._drops_seen: dict[int, int] = {}

    @property
    def live(self) -> dict[Family, int]:
        """Verdicts in force, by family."""
        return self._verdicts.live

    @property
    def shared(self) -> int:
        """Subscribers that share a bucket for want of class ids."""
        return self._verdicts.shared

    def throttle(self, flows: Iterable[Throttle], now: float) -> None:
        """Hand verdicts to the kernel; known ones start their time anew."""
        wanted = list(flows)
        for start in range(0, len(wanted), _AT_ONCE):
            self._throttle(wanted[start : start + _AT_ONCE], now)

    def _throttle(self, flows: Sequence[Throttle], now: float) -> None:
        changes: list[Change] = []
        noted: list[FlowId] = []
        places: list[int] = []
        for flow in flows:
            key = FlowId(flow.transport, flow.subscriber, flow.remote)
            old = self._verdicts.get(key)
            if old is None and len(self._verdicts) >= self._most:
                self.refused += 1
                continue
            if old is not None:
                changes += self._ending(old)
            held = self._verdicts.add(flow, now)
            noted.append(key)
            places.append(held.place)
            changes += self._adding(held)
        self._make_classes(places)
        try:
            self._table.commit(changes)
        except Rejected as error:
            if error.number not in (errno.EEXIST, errno.EBUSY):
                for key in noted:
                    self._verdicts.forget(key)
                raise
            self._throttle_slowly(noted)

    def _throttle_slowly(self, keys: Sequence[FlowId]) -> None:
        """One by one, deleting first what the kernel has and we did not know of."""
        for key in keys:
            held = self._verdicts.get(key)
            if held is None:
                continue
            there = self._table.find([(s, e.key) for s, e in self._elements(held)])
            changes: list[Change] = []
            for (name, element), answer in zip(
                self._elements(held), there, strict=True
            ):
                if answer is not None:
                    changes += elements.delete(
                        self._table.name, name, [Element(element.key)]
                    )
            self._table.commit([*changes, *self._adding(held)])

    def release(self, chosen: Callable[[Throttle], bool], now: float) -> int:
        """End the verdicts that a predicate picks; returns how many."""
        keys = self._verdicts.chosen(chosen)
        for start in range(0, len(keys), _AT_ONCE):
            part = keys[start : start + _AT_ONCE]
            self._table.commit(self.ending(part))
            self.ended(part, now)
        return len(keys)

    def covered(self, spared: Intervals) -> list[FlowId]:
        """The flows in force that have an end among these addresses."""
        found = []
        for family in Family:
            keys = self._verdicts.chosen(lambda f, v=family: f.subscriber.family is v)  # type: ignore[misc]
            if not keys:
                continue
            hit = np.zeros(len(keys), dtype=np.bool_)
            for end in (
                b"".join(key.subscriber.address for key in keys),
                b"".join(key.remote.address for key in keys),
            ):
                hit |= spared.contains_each(rows_of(end, family))
            found += [keys[index] for index in np.flatnonzero(hit)]
        return found

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

    def rebuilt(self) -> None:
        """Make all classes again, on an ifb that is new."""
        self._retire_statistics()
        self._classes.clear()
        self._make_classes(self._verdicts.places)

    def change_rate(self, rate: int) -> None:
        """Give all classes another rate, in bit/s."""
        self._shaper.set_rate(rate)
        self._shaper.add_classes(_minors(self._classes))

    def look_after(self, now: float) -> None:
        """Learn which verdicts have ended, and remove classes nobody needs."""
        keys = self._verdicts.due(now)
        for start in range(0, len(keys), _AT_ONCE):
            self._look_after(keys[start : start + _AT_ONCE], now)
        self._remove_idle_classes(now)

    def _look_after(self, keys: Sequence[FlowId], now: float) -> None:
        places = []
        for key in keys:
            held = self._verdicts.get(key)
            if held is not None:
                places += [(name, e.key) for name, e in self._elements(held)]
        answers = iter(self._table.find(places))
        mending: list[Change] = []
        for key in keys:
            held = self._verdicts.get(key)
            if held is None:
                continue
            both = [next(answers), next(answers)]
            alive = [answer for answer in both if answer is not None]
            if not alive:
                self._verdicts.forget(key)
            elif held.ended:
                mending += self._ending(held)
                self._verdicts.postpone(key, now)
            else:
                left = max(elements.remaining(answer) or 0.0 for answer in alive)
                self._verdicts.postpone(key, now + left)
                if len(alive) == 1:  # packets came one way only, for a while
                    mending += self._ending(held) + self._adding(held)
        self._table.commit(mending)

    def drops(self) -> dict[Direction, int]:
        """Packets that the queues had no room for, by direction, since the start."""
        totals = dict(self._drops)
        for number, statistics in self._shaper.statistics().items():
            self._drops_seen[number] = statistics.drops
            totals[_direction(number)] += statistics.drops
        return totals

    def backlog(self) -> int:
        """Bytes that wait in all queues."""
        return sum(one.backlog for one in self._shaper.statistics().values())

    def _make_classes(self, places: Iterable[int]) -> None:
        fresh = [place for place in dict.fromkeys(places) if place not in self._classes]
        self._shaper.add_classes(_minors(fresh))
        self._classes |= dict.fromkeys(fresh)

    def _remove_idle_classes(self, now: float) -> None:
        used = set(self._verdicts.places)
        gone = []
        for place, since in self._classes.items():
            if place in used:
                self._classes[place] = None
            elif since is None:
                self._classes[place] = now
            elif now - since >= _REST:
                gone.append(place)
        if not gone:
            return
        statistics = self._shaper.statistics()
        for place in gone:
            pair = [statistics.get(number) for number in _minors([place])]
            if any(one is not None and one.backlog for one in pair):
                continue
            for number in _minors([place]):
                if (one := statistics.get(number)) is not None:
                    self._drops[_direction(number)] += one.drops
                self._drops_seen.pop(number, None)
            del self._classes[place]
            self._shaper.remove_classes(_minors([place]))

    def _retire_statistics(self) -> None:
        """Keep what was last seen of classes that went away with their ifb."""
        for number, drops in self._drops_seen.items():
            self._drops[_direction(number)] += drops
        self._drops_seen.clear()

    def _adding(self, held: Held) -> list[Change]:
        changes: list[Change] = []
        for name, element in self._elements(held):
            changes += elements.add(self._table.name, name, [element])
        return changes

    def _ending(self, held: Held) -> list[Change]:
        """Add, then delete: deleting alone fails if the kernel was faster."""
        changes = self._adding(held)
        for name, element in self._elements(held):
            changes += elements.delete(self._table.name, name, [Element(element.key)])
        return changes

    def _elements(self, held: Held) -> list[tuple[str, Element]]:
        """The two elements of a verdict, and the maps they are in."""
        flow = held.flow
        found = []
        for direction in Direction:
            ends = (flow.subscriber, flow.remote)
            if direction is Direction.DOWNLOAD:
                ends = ends[::-1]
            key = b"".join(end.address for end in ends)
            if flow.transport.has_ports:
                key += b"".join(end.port.to_bytes(2, "big") for end in ends)
            number = self._shaper.major << 16 | minor(held.place, direction)
            value = number.to_bytes(4, sys.byteorder)
            name = names.verdict_map(direction, flow.subscriber.family, flow.transport)
            found.append((name, Element(key, float(flow.idle), value)))
        return found


def _minors(places: Iterable[int]) -> list[int]:
    return [minor(place, direction) for place in places for direction in Direction]


def _direction(number: int) -> Direction:
    return Direction.DOWNLOAD if number % 2 else Direction.UPLOAD
