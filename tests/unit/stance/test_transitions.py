# SPDX-License-Identifier: GPL-2.0-or-later
"""Every event in every state, and what time does."""

from dataclasses import replace

import pytest

from vpngate.config import Mode
from vpngate.stance import (
    Cause,
    Configured,
    Confirmation,
    Denied,
    Enforce,
    Footing,
    Halt,
    HaltReason,
    Observe,
    Posture,
    Restart,
    Stance,
    StanceEvent,
    Suspend,
    Tick,
    Why,
    acts_no_more,
    first_stance,
    next_stance,
)
from vpngate.stance.transitions import TABLE
from vpngate.timekeeping.clock import Reading

START = Reading(1_800_000_000.0, 1000.0, "boot")
DAY = 86400.0
OBSERVE, ENFORCE = Mode


def after(seconds: float, jump: float = 0.0, boot: str = "boot") -> Reading:
    """So many seconds later, by a clock that has jumped beside."""
    return Reading(START.wall + seconds + jump, START.uptime + seconds, boot)


def rebooted(seconds: float, jump: float = 0.0, up: float = 5.0) -> Reading:
    return Reading(START.wall + seconds + jump, up, "another boot")


def following(stance: Stance, *steps: tuple[StanceEvent, Reading]) -> Stance:
    for event, at in steps:
        told = next_stance(stance, event, at)
        assert isinstance(told, Stance), told
        stance = told
    return stance


OBSERVING = first_stance(OBSERVE, 40, START.wall)
ENFORCING = following(OBSERVING, (Enforce(5, 3600.0, by="uid 0"), START))
UNCONFIRMED = following(ENFORCING, (Enforce(50, 7200.0, 600.0), START))
STATES = {
    Posture.OBSERVING: OBSERVING,
    Posture.ENFORCING: ENFORCING,
    Posture.UNCONFIRMED: UNCONFIRMED,
}
LATER = after(60.0)
HALT = Halt(HaltReason.WITNESS, "1 packet")
ASKED = Why(Cause.ASKED, "uid 7")

# mode, share, seconds until it ends, seconds left to confirm, why; None where the
# stance stays as it is, a text where the event is denied.
After = tuple[Mode, int, float | None, float | None, Why] | str | None
EVERY: dict[StanceEvent, tuple[After, After, After]] = {
    Enforce(20, by="uid 7"): (
        (ENFORCE, 20, None, None, ASKED),
        (ENFORCE, 20, None, None, ASKED),
        (ENFORCE, 20, None, None, ASKED),
    ),
    Enforce(None, 30.0, 10.0, "uid 7"): (
        (ENFORCE, 40, 30.0, 10.0, ASKED),
        (ENFORCE, 5, 30.0, 10.0, ASKED),
        (ENFORCE, 50, 30.0, 10.0, ASKED),
    ),
    Confirmation("uid 7"): (
        "observes",
        "nothing waits",
        (ENFORCE, 50, 7140.0, None, ASKED),
    ),
    Observe("uid 7"): (
        None,
        (OBSERVE, 5, None, None, ASKED),
        (OBSERVE, 50, None, None, ASKED),
    ),
    Tick(): (None, None, None),
    Restart(): (None, None, None),
    HALT: (
        None,
        (OBSERVE, 5, None, None, Why(Cause.HALTED, "1 packet", HaltReason.WITNESS)),
        (OBSERVE, 50, None, None, Why(Cause.HALTED, "1 packet", HaltReason.WITNESS)),
    ),
    Suspend("a court"): (
        None,
        (OBSERVE, 5, None, None, Why(Cause.SUSPENDED, "a court")),
        (OBSERVE, 50, None, None, Why(Cause.SUSPENDED, "a court")),
    ),
    Configured(OBSERVE, 40): (None, None, None),
    Configured(ENFORCE, 7): (
        (ENFORCE, 7, None, None, Why(Cause.CONFIGURED)),
        (ENFORCE, 7, None, None, Why(Cause.CONFIGURED)),
        (ENFORCE, 7, None, None, Why(Cause.CONFIGURED)),
    ),
    Configured(OBSERVE, 7): (
        (OBSERVE, 7, None, None, Why(Cause.CONFIGURED)),
        (OBSERVE, 7, None, None, Why(Cause.CONFIGURED)),
        (OBSERVE, 7, None, None, Why(Cause.CONFIGURED)),
    ),
}


def test_every_event_is_in_both_tables_in_every_state() -> None:
    assert {type(event) for event in EVERY} == set(TABLE)
    assert all(set(row) == set(Posture) for row in TABLE.values())


@pytest.mark.parametrize("state", Posture)
@pytest.mark.parametrize("event", EVERY, ids=repr)
def test_an_event_in_a_state(event: StanceEvent, state: Posture) -> None:
    before = STATES[state]
    assert before.posture is state
    expected = EVERY[event][list(Posture).index(state)]
    told = next_stance(before, event, LATER)
    if expected is None:
        assert told is before
        return
    if isinstance(expected, str):
        assert isinstance(told, Denied)
        assert expected in told.what
        return
    assert isinstance(told, Stance)
    until = told.until and told.until.left(LATER)
    confirm = told.confirm_by and told.confirm_by.left(LATER)
    assert (told.mode, told.share, until, confirm, told.why) == expected
    assert told.since == LATER.wall
    assert (told.back is None) == (told.confirm_by is None)
    said = event if isinstance(event, Configured) else before.configured
    assert told.configured == said


def test_it_goes_back_to_what_needed_no_word() -> None:
    assert UNCONFIRMED.back == Footing(ENFORCE, 5, ENFORCING.until)
    again = following(UNCONFIRMED, (Enforce(80, None, 60.0), LATER))
    assert again.back == UNCONFIRMED.back
    first = following(OBSERVING, (Enforce(5, None, 60.0), START))
    assert first.back == Footing(OBSERVE, 40)


@pytest.mark.parametrize("jump", [0.0, DAY, -DAY])
@pytest.mark.parametrize("event", [Tick(), Restart(), HALT, Observe()], ids=repr)
def test_what_nobody_confirmed_goes_back_whatever_the_clock_says(
    event: StanceEvent, jump: float
) -> None:
    start = following(OBSERVING, (Enforce(5, None, 600.0), START))
    for early in (0.0, 599.0):
        assert next_stance(start, Tick(), after(early, jump)) is start
    back = following(start, (event, after(600.0, jump)))
    assert (back.mode, back.share, back.why) == (OBSERVE, 40, Why(Cause.UNCONFIRMED))
    denied = next_stance(start, Confirmation(), after(600.0, jump))
    assert isinstance(denied, Denied)
    assert "not confirmed" in denied.what


def test_what_was_enforced_before_goes_on_until_its_own_end() -> None:
    back = following(UNCONFIRMED, (Tick(), after(600.0)))
    assert (back.mode, back.share, back.until) == (ENFORCE, 5, ENFORCING.until)
    assert back.posture is Posture.ENFORCING
    over = following(back, (Tick(), after(3600.0)))
    assert (over.mode, over.why) == (OBSERVE, Why(Cause.TIME_OVER))
    # The same where nobody looked meanwhile.
    late = following(UNCONFIRMED, (Tick(), after(3600.0)))
    assert late.mode is OBSERVE


def test_it_never_goes_back_to_more() -> None:
    start = first_stance(ENFORCE, 100, START.wall)
    fewer = following(start, (Enforce(5, None, 60.0), START))
    back = following(fewer, (Tick(), after(60.0)))
    assert (back.mode, back.share) == (ENFORCE, 5)


@pytest.mark.parametrize(
    "at",
    [
        after(3600.0),
        after(3600.0, -DAY),
        after(10.0, DAY),
        rebooted(3600.0),
        rebooted(10.0, DAY),
        rebooted(10.0, -DAY),
        rebooted(3600.0, -1800.0, up=3600.0),
    ],
)
def test_a_time_box_ends_by_whichever_clock_says_so_first(at: Reading) -> None:
    over = following(ENFORCING, (Restart(), at))
    assert (over.mode, over.share, over.why) == (OBSERVE, 5, Why(Cause.TIME_OVER))


@pytest.mark.parametrize("at", [after(3599.0), after(3599.0, -DAY), rebooted(3599.0)])
def test_until_then_it_stays(at: Reading) -> None:
    assert following(ENFORCING, (Restart(), at)) is ENFORCING


@pytest.mark.parametrize("at", [rebooted(1.0), rebooted(1.0, -DAY), after(1.0, 0, "")])
def test_what_nobody_confirmed_before_a_reboot_observes(at: Reading) -> None:
    over = following(UNCONFIRMED, (Restart(), at))
    assert (over.mode, over.why) == (OBSERVE, Why(Cause.REBOOTED))


def test_a_time_box_that_is_shorter_than_the_time_to_confirm_ends_first() -> None:
    start = first_stance(ENFORCE, 5, START.wall)
    asked = following(start, (Enforce(50, 60.0, 600.0), START))
    over = following(asked, (Tick(), after(700.0)))
    assert (over.mode, over.why) == (OBSERVE, Why(Cause.TIME_OVER))


def test_a_halt_stays_until_a_person_acts() -> None:
    halted = following(ENFORCING, (HALT, LATER))
    for event in (Tick(), Restart(), Observe(), Suspend("x"), Configured(OBSERVE, 40)):
        assert next_stance(halted, event, after(DAY)) is halted
    assert isinstance(next_stance(halted, Confirmation(), LATER), Denied)
    assert following(halted, (Enforce(), LATER)).enforcing
    assert following(halted, (Configured(ENFORCE, 40), LATER)).enforcing


def test_how_long_is_left() -> None:
    assert OBSERVING.left(START) == float("inf")
    assert OBSERVING.left_to_act(START) == 0.0
    assert ENFORCING.left(after(600.0)) == ENFORCING.left_to_act(after(600.0)) == 3000.0
    # It goes back to fewer, who go on for an hour.
    assert UNCONFIRMED.left(LATER) == UNCONFIRMED.left_to_act(LATER) == 540.0
    first = following(OBSERVING, (Enforce(5, None, 600.0), START))
    assert first.left_to_act(LATER) == 540.0
    assert first_stance(ENFORCE, 5).left_to_act(LATER) == float("inf")
    assert UNCONFIRMED.ends == START.wall + 600.0
    assert OBSERVING.ends is None


def test_which_of_two_acts_on_more() -> None:
    assert acts_no_more(OBSERVING, ENFORCING)
    assert not acts_no_more(ENFORCING, OBSERVING)
    assert acts_no_more(ENFORCING, ENFORCING)
    assert acts_no_more(replace(ENFORCING, share=4), ENFORCING)
    assert not acts_no_more(UNCONFIRMED, ENFORCING)
    confirmed = following(UNCONFIRMED, (Confirmation(), LATER))
    assert acts_no_more(UNCONFIRMED, confirmed)
    assert not acts_no_more(confirmed, UNCONFIRMED)
    assert not acts_no_more(replace(ENFORCING, until=None), ENFORCING)
