# SPDX-License-Identifier: GPL-2.0-or-later
"""The flows that are throttled: verdicts in the table, classes on the ifbs, in step.

Knows in which order verdict and class come and go, so that no verdict leads to a
class that is not there; does not know rules or the dead man's switch. One thread
alone may use it. Times are of a clock that never jumps, in seconds.
"""

import errno
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice

from vpngate.errors import KernelRefused
from vpngate.kernel.detour.looking_after import LookingAfter
from vpngate.kernel.detour.sweeps import Choice, Sweep, taken
from vpngate.kernel.detour.verdict_maps import Committing, FlowStore
from vpngate.kernel.detour.verdicts import FlowId, HeldVerdict, Verdicts, identity
from vpngate.kernel.shaping.classes import Classes
from vpngate.kernel.shaping.places import IfbPlaces
from vpngate.kernel.shaping.shaper import Shaper
from vpngate.kernel.shaping.spares import MANY, Spares
from vpngate.kernel.table.pace import Pace
from vpngate.kernel.wire.channel import Change
from vpngate.kernel.wire.failures import Rejected
from vpngate.packets import Family
from vpngate.policy import Throttle

_LOOKED_AT = 2000  # flows a step, where nothing is asked of the kernel
_ONE_BY_ONE = 10  # flows a step, each of them several transactions
_MOVED_AT_ONCE = 150  # of verdicts whose ifb is another now
# The kernel's word for an element that is there and leads elsewhere.
_OTHERWISE = frozenset({errno.EEXIST, errno.EBUSY})


class Throttled:
    """All verdicts of one table."""

    def __init__(
        self, table: Committing, maps: FlowStore, shaper: Shaper, most: int
    ) -> None:
        self.refused = 0  # verdicts beyond `most`: their flows are left alone
        self._most = most
        self._table = table
        self._shaper = shaper
        self._maps = maps
        self._places = IfbPlaces()
        self._verdicts = Verdicts(self._places)
        self._to_move: Iterator[FlowId] = iter(())
        self.classes = Classes(shaper)
        self._spares = Spares(self._places, self.classes)
        self._pace = Pace(500, 50, 1000)  # flows whose end is one transaction
        look_after = LookingAfter(table, self._maps, self._verdicts)
        self.look_after = look_after.advance

    @property
    def live(self) -> dict[Family, int]:
        """Verdicts in force, by family."""
        return self._verdicts.live

    @property
    def live_by_tunnel(self) -> dict[Family, dict[str, int]]:
        """Verdicts in force, by family and name of the tunnel."""
        return self._verdicts.live_by_tunnel

    @property
    def subscribers(self) -> int:
        """Subscribers of whom a verdict is in force."""
        return self._verdicts.subscribers

    @property
    def shared(self) -> int:
        """Subscribers that share a bucket for want of class ids."""
        return self._verdicts.shared

    def verdicts(self) -> list[HeldVerdict]:
        """All there are at this moment, ended or not."""
        return list(self._verdicts)

    def perhaps_of(self, bucket: bytes) -> list[HeldVerdict]:
        """Verdicts of a bucket, ended or not; costs no more than these."""
        return self._verdicts.of_bucket(bucket)

    def throttle(self, flows: Sequence[Throttle], now: float) -> int:
        """Hand verdicts to the kernel; those that it has start their time anew.

        As many of the first as need no more classes than a step may make; returns how
        many these are.
        """
        most = self._fitting(flows)
        noted = self._note(flows[:most], now)
        self.classes.make(held.place for _, held in noted)
        changes: list[Change] = []
        for old, held in noted:
            if old is not None:
                changes += self._maps.ending([old])
            held.device = self._shaper.index_of(held.place)
            changes += self._maps.adding(held)
        try:
            self._table.commit(changes)
        except Rejected as error:
            if error.number in _OTHERWISE:
                keys = [identity(held.flow) for _, held in noted]
                self._one_by_one(keys, self._give_anew)
                return most
            for old, held in noted:
                if old is None:
                    self._verdicts.forget(identity(held.flow))
                else:  # the kernel has it as it was
                    held.device = old.device
            raise
        return most

    def _fitting(self, flows: Sequence[Throttle]) -> int:
        """How many of the first need no more new classes than can be had at once."""
        new: set[bytes] = set()
        for number, flow in enumerate(flows):
            place = self._verdicts.place_of(flow.bucket)
            if place is None or not self.classes.has(place):
                new.add(flow.bucket)
                if len(new) > self.classes.at_once + len(self._places.ready):
                    return number
        return len(flows)

    def _note(
        self, flows: Iterable[Throttle], now: float
    ) -> list[tuple[HeldVerdict | None, HeldVerdict]]:
        """Verdicts that there is room for, each with the one that it replaces."""
        noted: list[tuple[HeldVerdict | None, HeldVerdict]] = []
        for flow in flows:
            old = self._verdicts.get(identity(flow))
            if old is None and len(self._verdicts) >= self._most:
                self.refused += 1
            else:
                noted.append((old, self._verdicts.add(flow, now)))
        return noted

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
        self._table.commit([*self._maps.deleting_found(held), *self._maps.adding(held)])

    def _take_out(self, held: HeldVerdict) -> None:
        self._table.commit(self._maps.deleting_found(held))

    def sweep(self, choose: Choice) -> Sweep:
        """All verdicts, to `advance` through and end those that are chosen."""
        return Sweep(self._verdicts.keys(), choose)

    def advance(self, sweep: Sweep, now: float) -> bool:
        """A few more of a sweep's verdicts, looked at or ended; whether there are more.

        On an error those that were chosen still have to be ended.
        """
        if sweep.stubborn:
            self._end_stubborn(sweep, now)
        elif sweep.chosen:
            self._end_few(sweep, now)
        else:
            looked_at = map(self._verdicts.get, taken(sweep.left, _LOOKED_AT))
            sweep.choose([one.flow for one in looked_at if one and not one.ended])
        return not sweep.done

    def _end_stubborn(self, sweep: Sweep, now: float) -> None:
        few = taken(sweep.stubborn, _ONE_BY_ONE)
        try:
            self._one_by_one(few, self._take_out)
        except KernelRefused:
            sweep.stubborn.extendleft(reversed(few))
            raise
        self.ended(few, now)

    def _end_few(self, sweep: Sweep, now: float) -> None:
        begin = time.monotonic()
        few = taken(sweep.chosen, self._pace.size)
        try:
            self._table.commit(self.ending(few))
        except KernelRefused as error:
            if not isinstance(error, Rejected) or error.number not in _OTHERWISE:
                sweep.chosen.extendleft(reversed(few))
                raise
            sweep.stubborn.extend(few)
        else:
            self.ended(few, now)
            self._pace.took(len(few), time.monotonic() - begin)

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

    def ending(self, keys: Iterable[FlowId]) -> list[Change]:
        """The changes that end verdicts, whether or not the kernel has ended them."""
        found = map(self._verdicts.get, keys)
        return self._maps.ending(held for held in found if held is not None)

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
        self.classes.forget()
        self._to_move = iter(())

    def move(self) -> bool:
        """Have a few more verdicts lead to the ifb as it is; whether more may have to.

        Their time starts anew. Those that were made since lead there already. On an
        error they still have to.
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
        before = [(held, held.device) for held in astray]
        try:
            self._lead_anew(astray)
        except Exception:  # or they would lead to where there is no ifb any more
            for held, device in before:
                held.device = device
            self._to_move = chain(some, self._to_move)
            raise
        return True

    def _lead_anew(self, astray: Sequence[HeldVerdict]) -> None:
        changes = self._maps.ending(astray)
        for held in astray:
            held.device = self._shaper.index_of(held.place)
            changes += self._maps.adding(held)
        try:
            self._table.commit(changes)
        except Rejected as error:
            if error.number not in _OTHERWISE:
                raise
            self._one_by_one([identity(held.flow) for held in astray], self._give_anew)

    def tidy(self, now: float) -> None:
        """Have removed what nobody needs: classes, and what asks for verdicts."""
        used = {*self._verdicts.places, *self._places.ready}
        self.classes.remove_idle(used, now)
        self._maps.tidy(now, held=len(self._verdicts) > 0)

    @property
    def are_many(self) -> bool:
        """Whether classes are to be ready ahead: of few each is made in no time."""
        return self._verdicts.buckets >= MANY

    def make_ready(self) -> bool:
        """Make the classes of a place that somebody may soon need; whether to go on."""
        return self._spares.advance(self._verdicts.buckets)
