# SPDX-License-Identifier: GPL-2.0-or-later
"""What follows from an event, by examples and over random sequences of them."""

from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.daemon.gatehouse import (
    CONFIG,
    MACHINE,
    REGISTRY,
    config,
    config_read,
    fetched,
    registry,
)
from vpngate.attachment.machine import Machine
from vpngate.config import Mode
from vpngate.daemon.applying.events import (
    ConfigRead,
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
from vpngate.snapshot import Snapshot, enabled_tunnels

OBSERVING = CONFIG.replace("enforce", "observe")
GUARDED = '[protect]\nprefixes = ["198.51.100.0/24"]\n'
WITH_STRANGER = REGISTRY + "198.51.100.0/24,R-9\n"
RATE = '[throttle]\nrate = "1mbit"\n'
OWN = b"\xc0\0\2\1"
MORE = replace(MACHINE, addresses=MACHINE.addresses | {OWN})
FORGEABLE = replace(MACHINE, forgeable=(Problem("IPv6", "is forwarded"),))
MISSING = RegistryMissing(UnreadableInput("r.csv: no such file"))


def situation(text: str = CONFIG, machine: Machine = MACHINE) -> Situation:
    settings = config(text)
    tunnels = enabled_tunnels(settings)
    loaded = replace(registry(), grace=settings.registry.removal_grace)
    return Situation(Snapshot(settings, tunnels, loaded, machine), settings)


def after(start: Situation, *events: Event) -> Situation:
    for event in events:
        following = next_situation(start, event)
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
    declined = next_situation(start, event)
    assert isinstance(declined, Declined)
    assert isinstance(declined.reasons, kind or UnreadableInput)
    assert urgent(start, event) is start
    assert left_of(start, event) is start


def test_who_is_suspended_already_takes_whatever_else_is_new() -> None:
    start = situation(machine=FORGEABLE)
    read = after(start, config_read(CONFIG + RATE, FORGEABLE))
    assert read.snapshot.config.throttle.rate == 1_000_000
    assert not read.snapshot.enforcing
    # What keeps an observing daemon from enforcing does not suspend it.
    observing = situation(OBSERVING, FORGEABLE)
    assert observing.snapshot.suspended == ()
    assert isinstance(
        next_situation(observing, config_read(CONFIG, FORGEABLE)), Declined
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
    assert next_situation(start, event) is start
    assert urgent(start, event) is start


def test_urgent_is_to_observe_to_protect_to_choose_fewer_and_an_own_address() -> None:
    start = situation()
    text = OBSERVING + "enforce_share = 7\n" + GUARDED + RATE
    now = urgent(start, config_read(text, MORE))
    assert not now.snapshot.enforcing
    assert now.snapshot.protects(b"\xc6\x33\x64\1")
    assert now.snapshot.protects(OWN)
    assert now.snapshot.config.gateway.enforce_share == 7
    assert now.snapshot.config.throttle == start.snapshot.config.throttle
    forgeable = MachineSeen(start.wanted, FORGEABLE)
    assert not urgent(start, forgeable).snapshot.enforcing
    assert urgent(start, fetched("prefix,registration\n198.51.100.0/24,R-9\n")) is start


def test_a_configuration_that_waited_for_a_registry_that_failed_is_forgotten() -> None:
    read = after(situation(OBSERVING), config_read(CONFIG))
    left = left_of(read, fetched(REGISTRY))
    assert left.snapshot is read.snapshot
    assert left.wanted == read.snapshot.config
    assert not left.reading


def test_of_looks_that_wait_the_last_counts() -> None:
    one = MachineSeen(config(CONFIG), MACHINE)
    assert supersedes(one, MachineSeen(config(OBSERVING), MORE))
    assert not supersedes(config_read(CONFIG), config_read(OBSERVING))
    assert not supersedes(one, config_read(CONFIG))
    assert not supersedes(MinutePassed(), one)


TEXTS = st.builds(
    "".join,
    st.tuples(
        st.sampled_from([CONFIG, OBSERVING]),
        st.sampled_from(["", "enforce_share = 5\n", 'table = "other"\n']),
        st.sampled_from(["", GUARDED, GUARDED.replace("198", "197")]),
        st.sampled_from(["", RATE, '[tunnels]\nenabled = ["openvpn"]\n']),
    ),
)
MACHINES = st.sampled_from([MACHINE, MORE, FORGEABLE, Machine(("lan0", "lan7"))])
EVENTS = st.one_of(
    st.builds(ConfigRead, st.just("f.toml"), st.builds(cache(config), TEXTS), MACHINES),
    st.builds(MachineSeen, st.builds(cache(config), TEXTS), MACHINES),
    st.sampled_from([fetched(REGISTRY), fetched(WITH_STRANGER)]),
    st.sampled_from([RegistryFetched(None), MISSING, MinutePassed()]),
    st.just(ConfigUnreadable(UnreadableInput("no such file"))),
)


def slows_no_more(one: Snapshot, than: Snapshot) -> None:
    assert than.enforcing or not one.enforcing
    assert one.protected.covers(than.protected)
    assert one.config.gateway.enforce_share <= than.config.gateway.enforce_share


@given(st.lists(EVENTS, max_size=6), EVENTS)
def test_what_is_urgent_or_left_slows_nobody_more_and_changes_nothing_else(
    before: list[Event], event: Event
) -> None:
    start = situation()
    for each in before:
        following = next_situation(start, each)
        start = start if isinstance(following, Declined) else following
    for now in (urgent(start, event), left_of(start, event)):
        slows_no_more(now.snapshot, start.snapshot)
        assert now.snapshot.registry is start.snapshot.registry
        assert now.snapshot.tunnels == start.snapshot.tunnels
        assert now.snapshot.machine.interfaces == start.snapshot.machine.interfaces
        assert now.snapshot.config.throttle == start.snapshot.config.throttle
        # Nor will it, once a registry has come.
        assert now.wanted.gateway.mode in {Mode.OBSERVE, start.wanted.gateway.mode}
        shares = (each.wanted.gateway.enforce_share for each in (now, start))
        assert next(shares) <= next(shares)
    again = urgent(start, event)
    assert urgent(again, event) is again


@given(st.lists(EVENTS, max_size=6), EVENTS)
def test_an_event_that_comes_twice_is_one(before: list[Event], event: Event) -> None:
    start = situation()
    for each in before:
        following = next_situation(start, each)
        start = start if isinstance(following, Declined) else following
    once = next_situation(start, event)
    if isinstance(once, Situation):
        twice = next_situation(once, event)
        assert isinstance(twice, Situation)
        assert twice.snapshot.config == once.snapshot.config
        assert twice.snapshot.machine == once.snapshot.machine
        registries = once.snapshot.registry, twice.snapshot.registry
        assert len({(each.digest, each.grace) for each in registries}) == 1
        assert twice.wanted == once.wanted
