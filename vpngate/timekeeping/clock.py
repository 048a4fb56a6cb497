# SPDX-License-Identifier: GPL-2.0-or-later
"""What time it is, when the machine's clock may have jumped.

Knows what the clock has shown and how long the machine has been up; does not read
either. A clock that jumps, in either direction, must not end a registration: until
it has kept its new time for a while, the present is a span that holds the old time
and the new one, and a registration stands if it is valid anywhere in it.
"""

import json
from dataclasses import asdict, dataclass
from typing import NamedTuple

from vpngate.timekeeping.moments import Span

# What time servers correct without being asked twice.
TOLERANCE = 60.0  # seconds
# A clock that shows ever new times is not worth more memory than this.
_MAX_COURSES = 16
_LONGEST_BOOT = 64  # characters; the kernel's has 36
_LAST_SHOWN = 253402300799.0  # the end of the year 9999


class Reading(NamedTuple):
    """What the machine says at one instant.

    wall    seconds since the epoch
    uptime  seconds since boot, suspended time included; never set by anyone
    boot    names this boot of the machine
    """

    wall: float
    uptime: float
    boot: str


class Course(NamedTuple):
    """A clock as it was set at some time, and has run on since.

    shows  seconds since the epoch, at the latest reading
    seen   the uptime at which the machine's clock last showed it
    """

    shows: float
    seen: float


@dataclass(frozen=True, slots=True)
class Clock:
    """All that the machine's clock has shown of late: data to be kept and handed back.

    The latest course stands last.
    """

    boot: str
    uptime: float
    courses: tuple[Course, ...]

    @property
    def span(self) -> Span:
        """The present: one moment as long as the clock has not jumped."""
        shown = [course.shows for course in self.courses]
        return Span(min(shown), max(shown))

    @property
    def jumped(self) -> bool:
        """Whether the clock is in doubt."""
        return len(self.courses) > 1

    def dump(self) -> str:
        """As text, for `restore_clock`."""
        return json.dumps(asdict(self))


def read_clock(clock: Clock | None, reading: Reading, patience: float) -> Clock:
    """The clock after one more reading; None for the first there ever was.

    A course that the machine's clock has not shown for `patience` seconds of uptime
    is forgotten: what was jumped to is then believed. Across a boot nobody knows how
    long the machine was off, so what the clock showed last stays in the span for
    that long.
    """
    wall, uptime, boot = reading
    past = _carried_on(clock, reading) if clock else []
    others = [
        course
        for course in past
        if abs(course.shows - wall) > TOLERANCE and uptime - course.seen < patience
    ]
    if len(others) >= _MAX_COURSES:
        # The span is what counts: its ends stay.
        others = [min(others), max(others)]
    return Clock(boot, uptime, (*others, Course(wall, uptime)))


def _carried_on(clock: Clock, reading: Reading) -> list[Course]:
    if clock.boot != reading.boot or reading.uptime < clock.uptime:
        return [Course(course.shows, reading.uptime) for course in clock.courses]
    elapsed = reading.uptime - clock.uptime
    return [course._replace(shows=course.shows + elapsed) for course in clock.courses]


def restore_clock(text: str) -> Clock:
    """The inverse of `Clock.dump`; ValueError on damage."""
    try:
        kept = json.loads(text)
        courses = tuple(Course(float(a), float(b)) for a, b in kept["courses"])
        clock = Clock(str(kept["boot"]), float(kept["uptime"]), courses)
    except (KeyError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(f"not a clock: {error!r}") from None
    if not courses:
        raise ValueError("not a clock: it never showed a time")
    if len(courses) > _MAX_COURSES + 1 or len(clock.boot) > _LONGEST_BOOT:
        raise ValueError("not a clock: it remembers more than one does")
    shown = [number for course in courses for number in course]
    if not all(0 <= number <= _LAST_SHOWN for number in (*shown, clock.uptime)):
        raise ValueError("not a clock: it showed no time that there is")
    return clock
