# SPDX-License-Identifier: GPL-2.0-or-later
"""Whom nothing slows, brought to what it should be: spared sets, protected addresses.

Knows in which order sets are filled beside those in force, turned to and read back, in
short steps, and whether they are in doubt; and that protecting waits for no change.
Does not know what else a change is made of.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import ParamSpec

from vpngate.errors import VpngateError
from vpngate.kernel.lanes import Lanes
from vpngate.kernel.steps import Steps
from vpngate.kernel.table.readback import after_change
from vpngate.log_events import named, place_of
from vpngate.plan import Plan
from vpngate.prefixes.intervals import Delta, Intervals

_P = ParamSpec("_P")

logger = logging.getLogger(__name__)


class Protecting:
    """The protected addresses of one data plane, as they are asked for."""

    def __init__(self, lanes: Lanes, steps: Steps) -> None:
        self._lanes = lanes
        self._steps = steps
        self._making = asyncio.Lock()
        self._last: asyncio.Event | None = None  # set once that is over

    async def protect(self, addresses: Intervals) -> None:
        """Protect exactly these; returns once they, or whoever came later, are."""
        mine = self._last = asyncio.Event()
        try:
            await self._make_room(addresses)
            # While room was made, somebody may have asked who needed none.
            if self._last is mine:
                protect = partial(self._steps.protect, addresses)
                await self._lanes.hurry(self._steps.turning_off(protect))
        finally:
            mine.set()
        while not self._last.is_set():
            await self._last.wait()

    async def _make_room(self, addresses: Intervals) -> None:
        if self._steps.lacks_room(addresses):
            async with self._making:
                await asyncio.to_thread(self._steps.make_room, addresses)


class Sparing:
    """What is done about the spared sets; one change at a time."""

    def __init__(self, lanes: Lanes, steps: Steps) -> None:
        self.doubted = False  # whether they may not be what they should
        self.differed = 0  # looks that found the kernel's answers wrong
        self.disagreements = 0  # in a row, of the latest such row
        self._in_a_row = False  # whether that may still grow
        self.protect = Protecting(lanes, steps).protect
        self._do = lanes.do
        self._steps = steps

    def note(self, *, agrees: bool) -> None:
        """The kernel was asked, and there was no reason to doubt what it has."""
        self.differed += not agrees
        if not agrees:
            self.disagreements = 1 + (self.disagreements if self._in_a_row else 0)
        self._in_a_row = not agrees

    async def fill(self, spared: Intervals) -> None:
        """Make and fill sets that no rule asks yet, as they are laid out."""
        sets = self._steps.spared
        for changes in sets.making():
            await self._do(self._steps.table.introduce, changes)
        for name, few in sets.filling(spared):
            await self._do(sets.fill, name, few)

    async def fill_anew(self, spared: Intervals) -> None:
        """Fill sets beside those in force, laid out for what they are to hold."""
        await asyncio.to_thread(self._steps.spared.begin_anew, spared)
        await self.fill(spared)

    async def apply(self, delta: Delta) -> None:
        """Change the sets in force, part by part."""
        sets = self._steps.spared
        for batch in sets.batches(delta):
            await self._do(sets.apply, batch)

    async def take_back(self) -> None:
        """Undo what is in force of a change that failed; else fresh sets are due."""
        try:
            while await self._do(self._steps.spared.take_back):
                pass
        except VpngateError as error:
            self.doubted = True
            tell("cannot take back a change of spared sets", error)

    async def clear_away(self) -> None:
        """Remove the sets that nobody asks; what fails is tried again later."""
        try:
            while await self._do(self._steps.spared.clear_away):
                pass
        except VpngateError as error:
            tell("cannot remove spared sets that nobody asks", error)

    async def verify(self) -> bool:
        """Ask for a sample of who is spared, and mend what differs; whether any did.

        What is doubted from a change that was broken off is no disagreement yet, nor
        is a question that the kernel does not answer; what cannot be put right is one
        more each time.
        """
        protected = self._steps.protected
        look = await self._do(protected.look)
        wrong = look.apart
        try:
            if any(look):
                wrong = True  # for as long as it is not put right
                await self._do(protected.put_anew)
                wrong = look.apart
            doubted = self.doubted
            apart = not doubted and not await self.in_sync()
            if doubted or apart:
                wrong = True
                await self.refill()
        except VpngateError:
            if wrong:
                self.note(agrees=False)
            raise
        apart |= look.apart
        doubted |= look.doubted
        if apart or not doubted:
            self.note(agrees=not apart)
        return apart or doubted

    async def in_sync(self) -> bool:
        """Whether the kernel spares the right ones of a sample of addresses."""
        sets = self._steps.spared
        for family, few in sets.sample():
            if not await self._do(sets.agrees, family, few):
                return False
        return True

    async def refill(self) -> None:
        """Put fresh sets in the place of those that differ."""
        sets = self._steps.spared
        self.doubted = True
        try:
            await self.fill_anew(sets.held)
            await self._do(self._steps.turn_refilled)
        except BaseException:
            await self.give_up(sets.abandon)
            raise
        self.doubted = False
        await self.clear_away()

    async def read_back(self, planned: Plan) -> bool:
        """Ask for what a change did; fresh sets if it differs, and whether it did.

        The change stands: what fails here is tried again by `verify`.
        """
        sets = self._steps.spared
        asked = after_change(sets.held, planned.spared, anew=planned.swap)
        try:
            for family, few in asked:
                if not await self._do(sets.agrees, family, few):
                    self.note(agrees=False)
                    await self.refill()
                    logger.warning(
                        "repaired in the kernel: spared",
                        extra=named("kernel_repaired", what="spared"),
                    )
                    return True
        except VpngateError as error:
            self.doubted = True
            tell("cannot read back the spared sets", error)
        return False

    async def give_up(
        self, work: Callable[_P, None], *args: _P.args, **kwargs: _P.kwargs
    ) -> None:
        """Take down what was prepared; the error that led here is the one to tell."""
        try:
            await self._do(work, *args, **kwargs)
        except VpngateError as error:
            tell("cannot take down what was prepared", error)
        await self.clear_away()


def tell(what: str, error: Exception) -> None:
    """Log it: an error of a kind that was not thought of by its place.

    The text of such a one may quote a flow.
    """
    foreseen = isinstance(error, VpngateError)
    logger.error(
        "%s: %s",
        what,
        error if foreseen else place_of(error),
        extra=named("kernel_work_failed"),
    )


def tell_repaired(names: Sequence[str]) -> None:
    """Log what of the kernel's had changed, and was put right."""
    what = ", ".join(names)
    logger.warning(
        "repaired in the kernel: %s", what, extra=named("kernel_repaired", what=what)
    )


class Complaint:
    """What is tried again and again, and told once for as long as it fails alike."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._told = ""

    def tell(self, error: Exception) -> None:
        """It has failed."""
        if str(error) != self._told:
            self._told = str(error)
            tell(self._what, error)

    def over(self) -> None:
        """It has not: the next failure is told, whatever it is."""
        self._told = ""
