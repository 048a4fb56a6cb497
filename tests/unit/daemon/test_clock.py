# SPDX-License-Identifier: GPL-2.0-or-later
"""A clock that jumps puts the time in doubt; one that is slewed or agrees does not."""

from dataclasses import dataclass

from vpngate.daemon.clock import Clock
from vpngate.registry.moments import Span, When

START = 1_700_000_000.0
HOUR = 3600.0


@dataclass
class Times:
    """A wall clock and a steady one, moved by hand."""

    wall: float = START
    steady: float = 50.0

    def pass_by(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds

    def clock(self, settle: float = HOUR) -> Clock:
        return Clock(settle, lambda: self.wall, lambda: self.steady)


def test_time_passes() -> None:
    times = Times()
    clock = times.clock()
    times.pass_by(1000)
    assert clock.now() == START + 1000


def test_a_slewed_clock_is_believed_however_far_it_gets() -> None:
    times = Times()
    clock = times.clock()
    for _ in range(100):
        times.pass_by(10)
        times.wall += 30
        assert clock.now() == times.wall


def test_a_jump_forward_or_back_is_in_doubt_both_ways() -> None:
    for jump in (10 * HOUR, -10 * HOUR):
        times = Times()
        clock = times.clock()
        times.wall += jump
        times.pass_by(5)
        true = START + 5
        assert clock.now() == Span(min(true, true + jump), max(true, true + jump))


def test_a_clock_that_jumps_back_to_where_it_was_is_believed_again() -> None:
    times = Times()
    clock = times.clock()
    times.wall += 10 * HOUR
    assert isinstance(clock.now(), Span)
    times.wall -= 10 * HOUR
    times.pass_by(7)
    assert clock.now() == START + 7


def test_a_new_time_is_believed_once_it_has_stood_for_long_enough() -> None:
    times = Times()
    clock = times.clock(settle=HOUR)
    times.wall += 10 * HOUR
    assert isinstance(clock.now(), Span)
    times.pass_by(HOUR - 1)
    assert isinstance(clock.now(), Span)
    times.pass_by(1)
    assert clock.now() == START + 11 * HOUR
    times.pass_by(1)
    assert clock.now() == START + 11 * HOUR + 1


def test_a_second_jump_starts_the_wait_anew() -> None:
    times = Times()
    clock = times.clock(settle=HOUR)

    def doubtful() -> bool:
        now: When = clock.now()
        return isinstance(now, Span)

    times.wall += 10 * HOUR
    assert doubtful()
    times.pass_by(HOUR - 1)
    times.wall += 10 * HOUR
    assert doubtful()
    times.pass_by(HOUR - 1)
    assert doubtful()
    times.pass_by(2)
    assert not doubtful()


def test_the_real_clocks_agree_with_each_other() -> None:
    assert isinstance(Clock(HOUR).now(), float)
