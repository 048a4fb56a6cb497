# SPDX-License-Identifier: GPL-2.0-or-later
"""What is put right, or cleared up behind a change, one short step after the other.

Knows in which order verdicts end, queues run empty and ifbs come and go; does not know
when it is time for that.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

from vpngate.errors import VpngateError
from vpngate.kernel.lanes import Lanes
from vpngate.kernel.sparing import Sparing, tell
from vpngate.kernel.steps import Steps

_DRAIN = 1.0  # seconds at most; a queue holds 0.2
_DRAIN_STEP = 0.02


class Mending:
    """The steps that follow a change or a fault; one at a time.

    `again` has it mended soon: something was left undone.
    """

    def __init__(
        self, lanes: Lanes, steps: Steps, sparing: Sparing, again: Callable[[], None]
    ) -> None:
        self._do = lanes.do
        self._steps = steps
        self._sparing = sparing
        self._again = again

    async def advance(self) -> None:
        """Make what waits for it on the ifbs, step by step."""
        while await self._do(self._steps.way.advance):
            pass

    async def stand(self) -> None:
        """Have what a change put in force stand at all interfaces, step by step.

        What came to one before it was had was told of nobody who listened.
        """
        while await self._do(self._steps.stand_few):
            pass
        if self._steps.look_again():
            self._again()

    async def end_verdicts(self) -> None:
        """End those that wait for it, step by step; what fails is tried again later.

        Nothing has to wait for that: they are spared, or the switch is off.
        """
        try:
            while await self._do(self._steps.end_few):
                pass
        except VpngateError as error:
            tell("cannot end verdicts", error)

    async def drain(self) -> None:
        """Let what waits on an ifb that is to go be on its way, for a while."""
        deadline = time.monotonic() + _DRAIN
        try:
            for number in self._steps.draining:
                while await self._do(self._steps.way.waiting, number):
                    if time.monotonic() > deadline:
                        return
                    await asyncio.sleep(_DRAIN_STEP)
            if self._steps.draining:
                await asyncio.sleep(self._steps.on_its_way)
        except VpngateError as error:
            tell("cannot see whether something waits", error)

    async def wind_up(self) -> None:
        """Let what waits be on its way, then take down what may take long."""
        await self.drain()
        while await self._do(self._steps.leave_few):
            pass

    async def make_ready(self) -> None:
        """Make classes that somebody may soon need, until there are enough.

        For half of the time at most: a verdict waits for one place, never for many.
        """
        begin = time.monotonic()
        while await self._do(self._steps.way.make_ready):
            await asyncio.sleep(time.monotonic() - begin)
            begin = time.monotonic()

    async def check(self) -> list[str]:
        """Have classes made again that are not what they should be; their label."""
        check = self._steps.throttled.classes.check
        wrong = [await self._do(check, number) for number in self._steps.shaper.numbers]
        return ["class"] if any(wrong) else []

    async def mend(self) -> list[str]:
        """Put right what differs beside the spared sets; labels of what did.

        The ifbs also where rules cannot be put up anew; that is raised afterwards.
        """
        await self.end_verdicts()
        steps = self._steps
        try:
            await asyncio.to_thread(steps.look)
            repaired = await self._do(steps.repair)
        except VpngateError:
            await self.advance()  # what cannot be asked holds up the ifbs no more
            raise
        rules = None
        try:
            if steps.stale:
                rules = await asyncio.to_thread(steps.rules, steps.ruleset)
            await self._do(steps.mended, rules)
            await self.stand()
        except VpngateError:
            with suppress(VpngateError):
                await self.stand()  # no hook holds up another
            await self.advance()  # nor the ifbs
            raise
        await self.advance()
        await self._sparing.clear_away()
        return repaired

    async def conclude(self) -> None:
        """Clear up behind a change that is in force, whatever becomes of this."""
        try:
            await self.stand()
            await self.end_verdicts()
            await self.drain()
            await self._do(self._steps.way.vacate)
            await self.advance()
            await self._sparing.clear_away()
        except VpngateError as error:
            tell("cannot clear up behind a change", error)
            self._again()
        except asyncio.CancelledError:
            self._again()
            raise
