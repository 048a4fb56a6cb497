# SPDX-License-Identifier: GPL-2.0-or-later
"""One fault after the other: a state to begin from, the fault, well again, a verdict.

Knows this order, and what is asked of the daemon after each; does not know the faults,
nor what a flow may lose (`judge.py`).
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tests.campaign import judge
from tests.campaign.counts import Kind
from tests.campaign.judge import Pair, Size
from tests.campaign.schedule import Planned
from tests.campaign.subject import RATE
from tests.campaign.watch import SIZE, Mark
from tests.campaign.world import World
from tests.lab.namespaces import LabError
from tests.planes import PLANE
from vpngate.config import Plane
from vpngate.errors import VpngateError
from vpngate.stance import Halt, HaltReason

_LONG = 5.0  # seconds until it is well again: why, one may ask
# Programs that were made for a change which came to nothing: two sets at most.
_READY = 18 if PLANE is Plane.EBPF else 0
_WELL_AGAIN = 90.0  # seconds, also on a machine that is busy with other things
_HEADERS = 90  # bytes around a datagram in a tunnel: IP, UDP, WireGuard, IP, UDP
# Datagrams a second that the slow class passes of an unregistered tunnel.
FLOOR = 2 * RATE / 8 / (SIZE + _HEADERS)  # up and down have a class each


@dataclass(frozen=True)
class Outcome:
    """What came of a fault.

    suffered  what should not have been, in words; nothing if all is well
    noted     what else there is to say
    recovery  seconds from its end until the daemon was well
    seconds   in all
    ended     the daemon has given up, and was started again
    log       what the daemon said meanwhile, where there is something to find out
    """

    planned: Planned
    suffered: Sequence[str]
    noted: Sequence[str]
    recovery: float
    seconds: float
    ended: bool
    pairs: Mapping[Kind, Pair]
    size: Size | None
    log: str = ""


class Campaign:
    """A row of faults that befall one world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._counted_to: Mark = world.watch.mark()

    def undergo(self, planned: Planned) -> Outcome:
        """One fault, and what came of it. LabError where there is no going on."""
        world = self._world
        world.found.clear()
        world.noted.clear()
        started = time.monotonic()
        self._begin(planned)
        begin = world.watch.mark()
        self._befall(planned)
        ended, recovery = self._recover(planned)
        pairs = self._pairs(begin)
        size = world.subject.size() if world.subject.is_up else None
        said = world.subject.said()
        suffered = [
            *world.found,
            *judge.in_all(planned.fault.cost, pairs, FLOOR, planned.fault.silence),
            *judge.unseemly(said),
            *(judge.bounded(world.subject.first, size, _READY) if size else ()),
        ]
        took = time.monotonic() - started
        noted = tuple(world.noted)
        log = said if suffered or ended or recovery > _LONG else ""
        return Outcome(
            planned, suffered, noted, recovery, took, ended, pairs, size, log
        )

    def _begin(self, planned: Planned) -> None:
        """A state to begin from; by a start of the daemon if there is no other way."""
        try:
            self._world.begin(enforcing=planned.enforcing, clock=planned.fault.clock)
        except (LabError, VpngateError) as error:
            self._world.found.append(f"no beginning: {_in_a_line(error)}")
            if self._world.subject.is_up:
                self._world.subject.kill()
            self._world.begin(enforcing=planned.enforcing, clock=planned.fault.clock)

    def _befall(self, planned: Planned) -> None:
        try:
            with planned.fault.befall(self._world, planned.parameters):
                time.sleep(planned.seconds)
        except (LabError, VpngateError, OSError) as error:
            self._world.found.append(f"the fault itself: {_in_a_line(error)}")

    def _recover(self, planned: Planned) -> tuple[bool, float]:
        """Whether the daemon had given up, and how long until it was well."""
        world, subject = self._world, self._world.subject
        begin = time.monotonic()
        ended = not subject.is_up
        if ended:
            world.found += self._gave_up(planned)
            subject.start()
        halts = planned.fault.may_halt
        what = f"well again: {self._complaint()}"
        world.wait(lambda: world.is_well(halts), what, _WELL_AGAIN)
        status = subject.status()
        if status is not None:
            self._allow_halt(planned, status["stance"]["why"])
            world.found += subject.stance_told(status)
        return ended, time.monotonic() - begin

    def _gave_up(self, planned: Planned) -> Iterator[str]:
        """What is wrong about its end."""
        lines = self._world.subject.process.tail(1).splitlines()
        last = lines[-1] if lines else ""
        status = self._world.subject.process.exit_status
        self._world.noted.append(f"ended with {status}: {last}")
        if not planned.fault.may_end:
            yield f"ended with {status}: {last}"
        elif not last:
            yield f"ended with {status}, and did not say why"

    def _complaint(self) -> str:
        status = self._world.subject.status()
        return "no answer" if status is None else ", ".join(status["reasons"])

    def _allow_halt(self, planned: Planned, why: str) -> None:
        """A halt that this fault may bring about is not held against it."""
        for reason in planned.fault.may_halt:
            if why.startswith(f"halted ({reason})"):
                self._world.subject.follows(Halt(HaltReason(reason)))
                self._world.noted.append(why)

    def _pairs(self, begin: Mark) -> Mapping[Kind, Pair]:
        """The flows that nobody is to slow without a gap between two faults."""
        watch = self._world.watch
        watch.calm()
        end = watch.mark()
        since = watch.counted(self._counted_to, end)
        of_this = watch.counted(begin, end)
        self._counted_to = end
        return {**since, Kind.UNREGISTERED: of_this[Kind.UNREGISTERED]}


def _in_a_line(error: Exception) -> str:
    return " / ".join(str(error).splitlines()) or repr(error)
