# SPDX-License-Identifier: GPL-2.0-or-later
"""Any sequence of events, crashes, reboots and clocks that are set: what must hold."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from vpngate.config import Mode
from vpngate.stance import (
    Cause,
    Configured,
    Confirmation,
    Enforce,
    Halt,
    HaltReason,
    Observe,
    Posture,
    Restart,
    Stance,
    StanceEvent,
    Suspend,
    Tick,
    first_stance,
    next_stance,
    of_text,
    to_text,
)
from vpngate.timekeeping.clock import Reading

TEXTS = st.sampled_from([(m, s) for m in Mode for s in (1, 5, 100)])
SECONDS = st.sampled_from([1.0, 60.0, 3600.0])
TIMES = st.none() | SECONDS


class Operator(RuleBasedStateMachine):
    """A daemon, and beside it what people have allowed, in plain words.

    allowed   percent that a person's last word allows, and by true time until when
    trial     the same for what has to be confirmed, in the boot in which it was asked
    """

    def __init__(self) -> None:
        super().__init__()
        self.true = 0.0  # seconds that have truly passed
        self.offset = 1_800_000_000.0  # of the wall clock
        self.booted = 0.0
        self.boot = 1
        self.text = (Mode.OBSERVE, 100)
        self.stance = first_stance(*self.text, self.at.wall)
        self.kept = to_text(self.stance)
        self.allowed: tuple[int, float] = (0, 0.0)
        self.trial: tuple[int, float, int] | None = None
        self.until = float("inf")
        self.boxed = False  # the trial's end is that of its time box

    @property
    def at(self) -> Reading:
        uptime = self.true - self.booted + 1.0
        return Reading(self.offset + self.true, uptime, f"boot {self.boot}")

    def take(self, event: StanceEvent) -> bool:
        """What follows is kept, then acted on; whether it was taken."""
        told = next_stance(self.stance, event, self.at)
        if not isinstance(told, Stance):
            self.take(Tick())
            return False
        self.kept = to_text(told)
        self.stance = told
        return True

    def nobody(self) -> None:
        self.allowed, self.trial = (0, 0.0), None

    @rule(share=st.integers(0, 100), seconds=TIMES, confirm=TIMES)
    def enforce(self, share: int, seconds: float | None, confirm: float | None) -> None:
        self.settle()
        assert self.take(Enforce(share, seconds, confirm))
        until = float("inf") if seconds is None else self.true + seconds
        if confirm is None:
            self.allowed, self.trial = (share, until), None
        else:
            self.trial = (share, min(until, self.true + confirm), self.boot)
            self.until = until
            self.boxed = seconds is not None and seconds < confirm

    @rule()
    def confirm(self) -> None:
        self.settle()
        if self.take(Confirmation()):
            assert self.trial is not None, "nobody can confirm what is over"
            self.allowed, self.trial = (self.trial[0], self.until), None

    @rule()
    def observe(self) -> None:
        self.take(Observe())
        self.nobody()

    @rule(reason=st.sampled_from(HaltReason))
    def halt(self, reason: HaltReason) -> None:
        self.settle()
        enforcing = self.stance.enforcing
        self.take(Halt(reason))
        self.nobody()
        assert not enforcing or self.stance.why.cause is Cause.HALTED

    @rule()
    def suspend(self) -> None:
        self.take(Suspend("a court"))
        self.nobody()

    @rule(text=TEXTS)
    def reload(self, text: tuple[Mode, int]) -> None:
        self.settle()
        changed, self.text = text != self.text, text
        before = self.stance
        self.take(Configured(*text))
        if changed:
            share = text[1] if text[0] is Mode.ENFORCE else 0
            self.allowed, self.trial = (share, float("inf")), None
        else:
            assert self.stance is before

    @rule(seconds=st.sampled_from([0.5, 1.0, 59.0, 60.0, 3599.0, 90000.0]))
    def wait(self, seconds: float) -> None:
        self.true += seconds
        self.take(Tick())

    @rule(seconds=st.sampled_from([-1e9, -86400.0, -3600.0, 3600.0, 86400.0]))
    def set_clock(self, seconds: float) -> None:
        self.offset = max(0.0, self.offset + seconds)
        self.take(Tick())

    @rule(off=st.sampled_from([0.0, 0.5, 60.0, 90000.0]))
    def crash(self, off: float) -> None:
        """Killed at any time, also while it was stopped."""
        self.true += off
        self.stance = of_text(self.kept)
        self.take(Restart())
        self.take(Configured(*self.text))

    @rule(off=st.sampled_from([10.0, 90000.0]))
    def reboot(self, off: float) -> None:
        self.boot += 1
        self.true += off
        self.booted = self.true
        if self.trial is not None:
            self.nobody()
        self.crash(0.0)

    def settle(self) -> None:
        """The model's own time."""
        if self.trial is not None and self.true >= self.trial[1]:
            share, _, _ = self.trial
            self.allowed = (min(share, self.allowed[0]), self.allowed[1])
            if self.boxed:
                self.allowed = (0, 0.0)
            self.trial = None
        if self.true >= self.allowed[1]:
            self.allowed = (0, 0.0)
        self.take(Tick())

    @invariant()
    def nobody_is_slowed_whom_no_person_allows(self) -> None:
        self.settle()
        allowed = self.allowed[0] if self.trial is None else self.trial[0]
        acted_on = self.stance.share if self.stance.enforcing else 0
        assert acted_on <= allowed
        if self.stance.posture is Posture.UNCONFIRMED:
            assert self.trial is not None
            assert self.stance.left(self.at) <= self.trial[1] - self.true + 1e-3

    @invariant()
    def what_is_kept_is_what_is_acted_on(self) -> None:
        assert of_text(self.kept) == self.stance


Operator.TestCase.settings = settings(stateful_step_count=30, deadline=None)
TestOperator = Operator.TestCase
