# SPDX-License-Identifier: GPL-2.0-or-later
"""What follows from an event, by examples and over random sequences of them."""

from dataclasses import replace

import pytest

from tests.unit.daemon.gatehouse import (
    CONFIG,
    MACHINE,
    NOW,
    REGISTRY,
    config,
    config_read,
    fetched,
    registry,
)
from vpngate.attachment.machine import Machine
from vpngate.config import Mode
from vpngate.daemon.applying.events import (
    ConfigUnreadable,
    Declined,
    Event,
    MachineSeen,
    MinutePassed,
    RegistryFetched,
    RegistryMissing,
    Situation,
)
from vpngate.daemon.applying.transition import (
    left_of,
    next_situation,
    supersedes,
    urgent,
)
from vpngate.errors import (
    InvalidConfig,
    Problem,
    Refused,
    UnreadableInput,
)
from vpngate.snapshot import Snapshot, enabled_tunnels, stance_of
from vpngate.stance import (
    Cause,
    Configured,
    Confirmation,
    Enforce,
    Halt,
    HaltReason,
    Observe,
    Tick,
)
from vpngate.supply.keeper import Delivery
from vpngate.timekeeping.clock import Reading

OBSERVING = CONFIG.replace("enforce", "observe")
GUARDED = '[protect]\nprefixes = ["198.51.100.0/24"]\n'
WITH_STRANGER = REGISTRY + "198.51.100.0/24,R-9\n"
RATE = '[throttle]\nrate = "1mbit"\n'
OWN = b"\xc0\0\2\1"
MORE = replace(MACHINE, addresses=MACHINE.addresses | {OWN})
FORGEABLE = replace(MACHINE, forgeable=(Problem("IPv6", "is forwarded"),))
SUSPENDING = RegistryFetched(
    Delivery(replace(registry(), suspend="a court"), "a source", 0)
)
AT = Reading(NOW, 1000.0, "boot")
MISSING = RegistryMissing(UnreadableInput("r.csv: no such file"))


def situation(text: str = CONFIG, machine: Machine = MACHINE) -> Situation:
    settings = config(text)
    tunnels = enabled_tunnels(settings)
    loaded = replace(registry(), grace=settings.registry.removal_grace)
    stance = stance_of(settings)
    return Situation(Snapshot(settings, tunnels, loaded, machine, stance), settings)


def after(start: Situation, *events: Event) -> Situation:
    for event in events:
        following = next_situation(start, event, AT)
        assert isinstance(following, Situation)
        start = following
    return start


def test_a_configuration_that_slows_nobody_more_is_in_force_as_soon_as_it_is_read() -> (
    None
):
    read = after(situation(), config_read(OBSERVING + GUARDED + RATE))
    assert read.snapshot.config == read.wanted == config(OBSERVING + GUARDED + RATE)
    assert read.reading


@pytest.mark.parametrize("event", [RegistryFetched(None), MISSING, fetched(REGISTRY)])
def test_what_slows_more_is_in_force_once_something_is_known_of_a_registry(
    event: Event,
) -> None:
    read = after(situation(OBSERVING + GUARDED), config_read(CONFIG + RATE))
    assert read.snapshot.config.gateway.mode is Mode.OBSERVE
    assert read.snapshot.protects(b"\xc6\x33\x64\1")
    assert read.snapshot.config.throttle.rate == 1_000_000
    through = after(read, event)
    assert through.snapshot.config == through.wanted == config(CONFIG + RATE)
    assert not through.snapshot.protects(b"\xc6\x33\x64\1")
    assert not through.reading


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        (config_read(CONFIG + 'table = "other"'), InvalidConfig),
        (config_read(OBSERVING + 'table = "other"'), InvalidConfig),
        (config_read(CONFIG, FORGEABLE), Refused),
        (ConfigUnreadable(UnreadableInput("vpngate.toml: no such file")), None),
    ],
)
def test_what_may_not_be_is_declined_with_its_reasons_and_nothing_of_it_is_urgent(
    event: Event, kind: type[Exception] | None
) -> None:
    start = situation()
    declined = next_situation(start, event, AT)
    assert isinstance(declined, Declined)
    assert isinstance(declined.reasons, kind or UnreadableInput)
    assert urgent(start, event, AT) is start
    assert left_of(start, event, AT) is start


def test_who_is_suspended_already_takes_whatever_else_is_new() -> None:
    start = situation(machine=FORGEABLE)
    read = after(start, config_read(CONFIG + RATE, FORGEABLE))
    assert read.snapshot.config.throttle.rate == 1_000_000
    assert not read.snapshot.enforcing
    # What keeps an observing daemon from enforcing does not suspend it.
    observing = situation(OBSERVING, FORGEABLE)
    assert observing.snapshot.suspended == ()
    assert isinstance(
        next_situation(observing, config_read(CONFIG, FORGEABLE), AT), Declined
    )


def test_another_registry_brings_its_rows_and_the_grace_that_is_wanted() -> None:
    grace = '[registry]\nremoval_grace = "5h"\n'
    event = fetched(WITH_STRANGER)
    there = after(situation(), config_read(CONFIG + grace), event)
    assert len(there.snapshot.registry) == 2
    assert there.snapshot.registry.grace == 5 * 3600
    assert event.delivery is not None
    assert after(situation(), event).rejected == event.delivery.rejected


def test_a_look_counts_for_the_configuration_that_it_was_made_by() -> None:
    start = situation()
    other = Machine(("lan0", "lan7"), MORE.addresses)
    seen = after(start, MachineSeen(start.wanted, other))
    assert seen.snapshot.machine is other
    read = after(start, config_read(CONFIG + RATE))
    late = after(read, MachineSeen(start.wanted, other))
    assert late.snapshot.machine.interfaces == ("lan0",)
    assert late.snapshot.protects(OWN), "its own addresses are the same by any"


@pytest.mark.parametrize(
    "event", [MinutePassed(), MachineSeen(config(CONFIG), MACHINE)]
)
def test_what_brings_nothing_new_changes_nothing(event: Event) -> None:
    start = situation()
    assert next_situation(start, event, AT) is start
    assert urgent(start, event, AT) is start


def test_urgent_is_to_observe_to_protect_to_choose_fewer_and_an_own_address() -> None:
    start = situation()
    text = OBSERVING + "enforce_share = 7\n" + GUARDED + RATE
    now = urgent(start, config_read(text, MORE), AT)
    assert not now.snapshot.enforcing
    assert now.snapshot.protects(b"\xc6\x33\x64\1")
    assert now.snapshot.protects(OWN)
    assert now.snapshot.config.gateway.enforce_share == 7
    assert now.snapshot.config.throttle == start.snapshot.config.throttle
    forgeable = MachineSeen(start.wanted, FORGEABLE)
    assert not urgent(start, forgeable, AT).snapshot.enforcing
    other = fetched("prefix,registration\n198.51.100.0/24,R-9\n")
    assert urgent(start, other, AT) is start


def test_a_configuration_that_waited_for_a_registry_that_failed_is_forgotten() -> None:
    read = after(situation(OBSERVING), config_read(CONFIG))
    left = left_of(read, fetched(REGISTRY), AT)
    assert left.snapshot is read.snapshot
    assert left.wanted == read.snapshot.config
    assert not left.reading


def test_of_looks_that_wait_the_last_counts() -> None:
    one = MachineSeen(config(CONFIG), MACHINE)
    assert supersedes(one, MachineSeen(config(OBSERVING), MORE))
    assert not supersedes(config_read(CONFIG), config_read(OBSERVING))
    assert not supersedes(one, config_read(CONFIG))
    assert not supersedes(MinutePassed(), one)


def test_the_text_of_the_file_acts_when_it_changes_and_no_other_time() -> None:
    start = situation(OBSERVING)
    asked = after(start, Enforce(5))
    assert asked.snapshot.enforcing
    assert asked.snapshot.config is start.snapshot.config
    same = after(asked, config_read(OBSERVING + RATE), RegistryFetched(None))
    assert same.snapshot.stance == asked.snapshot.stance
    more = after(asked, config_read(CONFIG))
    assert more.snapshot.stance == asked.snapshot.stance, "a registry comes first"
    assert more.snapshot.config.gateway.mode is Mode.OBSERVE
    whole = after(more, MISSING).snapshot
    assert whole.stance.configured == (Mode.ENFORCE, 100)
    assert (whole.stance.share, whole.stance.why.cause) == (100, Cause.CONFIGURED)
    fewer = after(situation(), Enforce(50), config_read(CONFIG + "enforce_share = 5\n"))
    assert fewer.snapshot.stance.share == 5


def test_what_was_not_put_in_force_does_not_come_by_itself() -> None:
    """A text that acts on more, and came to nothing with a registry, is read again."""
    read = after(situation(OBSERVING), config_read(CONFIG))
    left = left_of(read, fetched(REGISTRY), AT)
    later = after(left, RegistryFetched(None), MinutePassed())
    assert not later.snapshot.stance.enforcing
    again = after(later, config_read(CONFIG), RegistryFetched(None))
    assert again.snapshot.enforcing


@pytest.mark.parametrize(
    "event",
    [Observe(), Halt(HaltReason.WITNESS), Enforce(5, confirm_within=600.0)],
    ids=["observe", "halt", "enforce"],
)
@pytest.mark.parametrize("enforcing", [False, True])
def test_what_comes_after_a_file_was_read_has_the_last_word(
    event: Event, *, enforcing: bool
) -> None:
    """Also where the file waits for its registry: it was said before."""
    few = CONFIG + "enforce_share = 5\n"
    read = after(situation(few if enforcing else OBSERVING), config_read(CONFIG))
    spoken = after(read, event).snapshot.stance
    for answer in (MISSING, fetched(REGISTRY)):
        assert after(read, event, answer).snapshot.stance == spoken
    again = after(read, event, MISSING, config_read(CONFIG), MISSING)
    assert again.snapshot.stance == spoken, "the same text says nothing new"


def test_a_registry_suspends_at_once_and_no_other_one_resumes() -> None:
    start = situation()
    now = urgent(start, SUSPENDING, AT)
    assert not now.snapshot.enforcing
    assert now.snapshot.registry is start.snapshot.registry
    there = after(start, SUSPENDING)
    assert there.snapshot.stance.why.cause is Cause.SUSPENDED
    for event in (Enforce(), Enforce(5)):
        declined = next_situation(there, event, AT)
        assert isinstance(declined, Declined)
        assert len(declined.reasons.lines) == 1
        assert "a court" in declined.reasons.lines[0]
    # Another text is a person's word, but not against the registry's.
    text = config_read(CONFIG + "enforce_share = 50\n")
    assert not after(there, text, MISSING).snapshot.stance.enforcing
    later = after(there, text, MISSING, fetched(REGISTRY))
    assert not later.snapshot.stance.enforcing
    assert after(later, Enforce()).snapshot.enforcing


@pytest.mark.parametrize(
    ("text", "machine"),
    [
        (OBSERVING + '[capture]\nsource = "mirror"\n', MACHINE),
        (OBSERVING + 'side = "uplink"\n', MACHINE),
        (OBSERVING + 'side = "uplink"\nnat = true\n', MACHINE),
        (OBSERVING + 'side = "uplink"\nnat = false\n', FORGEABLE),
    ],
)
def test_where_nobody_may_be_slowed_enforce_is_refused_with_one_line(
    text: str, machine: Machine
) -> None:
    start = situation(text, machine)
    declined = next_situation(start, Enforce(), AT)
    assert isinstance(declined, Declined)
    assert isinstance(declined.reasons, Refused)
    assert len(declined.reasons.lines) == 1
    assert urgent(start, Enforce(), AT) is start


def test_what_a_configuration_takes_away_under_a_stance_ends_slowing() -> None:
    uplink = OBSERVING + 'side = "uplink"\n'
    asked = after(situation(uplink + "nat = false\n"), Enforce())
    assert asked.snapshot.enforcing
    read = after(asked, config_read(uplink))
    assert not read.snapshot.enforcing
    assert read.snapshot.suspended
    assert not urgent(asked, config_read(uplink), AT).snapshot.enforcing


def test_nobody_is_chosen_by_another_key_before_a_registry_has_come() -> None:
    start = situation()
    read = after(start, replace(config_read(CONFIG), share_key=b"another"))
    assert read.snapshot.share_key == start.snapshot.share_key
    assert after(read, MISSING).snapshot.share_key == b"another"
    left = left_of(read, fetched(REGISTRY), AT)
    assert after(left, MISSING).snapshot.share_key == start.snapshot.share_key
    assert "another" not in f"{read} {after(read, MISSING)}"


def test_a_smaller_share_is_urgent_and_a_longer_time_is_not() -> None:
    start = after(situation(), Enforce(50, for_seconds=60.0))
    now = urgent(start, Enforce(5, for_seconds=600.0), AT)
    assert now.snapshot.stance.share == 5
    assert now.snapshot.stance.until == start.snapshot.stance.until
    assert urgent(start, Enforce(50, for_seconds=600.0), AT) is start
    assert urgent(start, Confirmation(), AT) is start


def test_a_time_that_is_over_goes_back_at_once_and_to_no_more() -> None:
    start = after(situation(), Enforce(5), Enforce(50, confirm_within=60.0))
    assert start.snapshot.stance.share == 50
    late = AT._replace(uptime=AT.uptime + 60, wall=AT.wall + 60)
    assert urgent(start, Tick(), AT) is start
    assert urgent(start, Tick(), late).snapshot.stance.share == 5
    declined = next_situation(start, Confirmation(), late)
    assert isinstance(declined, Declined)


def test_the_configured_stance_can_be_asked_for_like_any_other() -> None:
    start = situation(OBSERVING)
    there = after(start, Configured(Mode.ENFORCE, 7)).snapshot
    assert (there.enforcing, there.stance.share) == (True, 7)
    assert there.config.gateway.enforce_share == 7
