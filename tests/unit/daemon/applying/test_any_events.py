# SPDX-License-Identifier: GPL-2.0-or-later
"""What holds of a transition whatever came before it."""

from functools import cache

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.daemon.applying.test_transition import (
    AT,
    FORGEABLE,
    GUARDED,
    MISSING,
    MORE,
    OBSERVING,
    RATE,
    SUSPENDING,
    WITH_STRANGER,
    situation,
)
from tests.unit.daemon.gatehouse import (
    CONFIG,
    MACHINE,
    REGISTRY,
    config,
    fetched,
)
from vpngate.attachment.machine import Machine
from vpngate.config import Config, Mode
from vpngate.daemon.applying.events import (
    ConfigRead,
    ConfigUnreadable,
    Declined,
    Event,
    MachineSeen,
    MinutePassed,
    RegistryFetched,
    Situation,
)
from vpngate.daemon.applying.transition import (
    left_of,
    next_situation,
    urgent,
)
from vpngate.errors import (
    UnreadableInput,
)
from vpngate.snapshot import Snapshot
from vpngate.stance import (
    Confirmation,
    Enforce,
    Halt,
    HaltReason,
    Observe,
    Tick,
)

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
    st.sampled_from([SUSPENDING, Enforce(5), Enforce(50, None, 60.0), Observe()]),
    st.sampled_from(
        [Confirmation(), Tick(), Halt(HaltReason.WITNESS), Enforce(7, 60.0)]
    ),
)


def slows_no_more(one: Snapshot, than: Snapshot) -> None:
    assert than.enforcing or not one.enforcing
    assert one.protected.covers(than.protected)
    assert one.stance.share <= than.stance.share or not one.enforcing


def acted_on(settings: Config) -> int:
    """Percent of the subscribers, by what the file says."""
    gateway = settings.gateway
    return gateway.enforce_share if gateway.mode is Mode.ENFORCE else 0


@given(st.lists(EVENTS, max_size=6), EVENTS)
def test_what_is_urgent_or_left_slows_nobody_more_and_changes_nothing_else(
    before: list[Event], event: Event
) -> None:
    start = situation()
    for each in before:
        following = next_situation(start, each, AT)
        start = start if isinstance(following, Declined) else following
    for now in (urgent(start, event, AT), left_of(start, event, AT)):
        slows_no_more(now.snapshot, start.snapshot)
        assert now.snapshot.registry is start.snapshot.registry
        assert now.snapshot.tunnels == start.snapshot.tunnels
        assert now.snapshot.machine.interfaces == start.snapshot.machine.interfaces
        assert now.snapshot.config.throttle == start.snapshot.config.throttle
        # Nor will it, once a registry has come.
        assert acted_on(now.wanted) <= acted_on(start.wanted)
    again = urgent(start, event, AT)
    assert urgent(again, event, AT) is again


@given(st.lists(EVENTS, max_size=6), EVENTS)
def test_an_event_that_comes_twice_is_one(before: list[Event], event: Event) -> None:
    start = situation()
    for each in before:
        following = next_situation(start, each, AT)
        start = start if isinstance(following, Declined) else following
    once = next_situation(start, event, AT)
    if isinstance(once, Situation):
        twice = next_situation(once, event, AT)
        assert isinstance(twice, Situation)
        assert twice.snapshot.config == once.snapshot.config
        assert twice.snapshot.machine == once.snapshot.machine
        registries = once.snapshot.registry, twice.snapshot.registry
        assert len({(each.digest, each.grace) for each in registries}) == 1
        assert twice.wanted == once.wanted
