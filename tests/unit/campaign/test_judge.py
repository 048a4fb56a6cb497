# SPDX-License-Identifier: GPL-2.0-or-later
"""What is held against a daemon after a fault, and what is the machine's."""

from dataclasses import replace

import pytest

from tests.campaign.counts import Counts, Kind, longest_silence
from tests.campaign.fault import Cost
from tests.campaign.judge import (
    Pair,
    Size,
    bounded,
    in_all,
    never_blocked,
    unseemly,
    untouched,
)

_WELL = Counts(seconds=4.0, sent=1000, lost=0, came=1000, silence=0.05)
_FLOOR = 100.0  # datagrams a second


def _losing(lost: int) -> Counts:
    return replace(_WELL, lost=lost, came=1000 - lost)


@pytest.mark.parametrize(
    ("cost", "lost", "control", "held"),
    [
        (Cost.NOTHING, 0, 0, False),
        (Cost.NOTHING, 1, 0, True),
        (Cost.NOTHING, 9, 9, False),
        (Cost.NOTHING, 200, 100, True),
        (Cost.LINK, 500, 500, False),
        (Cost.LINK, 600, 500, False),  # the other link came back sooner
        (Cost.LINK, 700, 500, True),
        (Cost.LINK, 200, 0, True),
        (Cost.LOAD, 90, 0, False),
        (Cost.LOAD, 110, 0, True),
        (Cost.LOAD, 500, 500, False),
        (Cost.LOAD, 700, 500, True),
    ],
)
def test_who_is_not_to_be_slowed_loses_what_its_control_loses(
    cost: Cost, lost: int, control: int, *, held: bool
) -> None:
    pair = Pair(_losing(lost), _losing(control))
    assert bool(list(untouched(Kind.DATAGRAMS, cost, pair))) is held


@pytest.mark.parametrize(
    ("kind", "silence", "control", "held"),
    [
        (Kind.DATAGRAMS, 0.9, 0.05, False),
        (Kind.DATAGRAMS, 1.2, 0.05, True),
        (Kind.DATAGRAMS, 5.5, 5.0, False),
        (Kind.STREAM, 2.9, 0.05, False),  # a timer of its own
        (Kind.STREAM, 3.2, 0.05, True),
    ],
)
def test_who_is_not_to_be_slowed_is_not_silent(
    kind: Kind, silence: float, control: float, *, held: bool
) -> None:
    pair = Pair(replace(_WELL, silence=silence), replace(_WELL, silence=control))
    assert bool(list(untouched(kind, Cost.NOTHING, pair))) is held


def test_a_stream_ends_only_where_its_control_does() -> None:
    broken = replace(_WELL, broken=1)
    assert list(untouched(Kind.STREAM, Cost.LINK, Pair(broken, _WELL)))
    assert not list(untouched(Kind.STREAM, Cost.LINK, Pair(broken, broken)))


@pytest.mark.parametrize(
    ("came", "held"),
    [(1000, False), (400, False), (210, False), (190, True), (0, True)],
)
def test_an_unregistered_tunnel_is_free_or_slow(came: int, *, held: bool) -> None:
    pair = Pair(replace(_WELL, came=came), _WELL)
    assert bool(list(never_blocked(pair, _FLOOR, 1.0))) is held


def test_what_the_machine_did_to_the_control_it_did_to_the_tunnel() -> None:
    starved = replace(_WELL, came=100)
    assert not list(never_blocked(Pair(starved, starved), _FLOOR, 1.0))


def test_a_moment_tells_no_rate_but_a_silence() -> None:
    short = replace(_WELL, seconds=0.5, sent=125, came=10)
    control = replace(_WELL, seconds=0.5, sent=125, came=125)
    assert not list(never_blocked(Pair(short, control), _FLOOR, 1.0))
    silent = replace(_WELL, silence=3.0)
    assert list(never_blocked(Pair(silent, _WELL), _FLOOR, 1.0))


def test_all_four_flows_are_judged() -> None:
    pairs = {kind: Pair(_WELL, _WELL) for kind in Kind}
    assert in_all(Cost.NOTHING, pairs, _FLOOR, 1.0) == []
    dead = replace(_WELL, lost=1000, came=0, silence=4.0)
    for kind in Kind:
        told = in_all(Cost.NOTHING, {**pairs, kind: Pair(dead, _WELL)}, _FLOOR, 1.0)
        assert told
        assert all(line.startswith(f"{kind}: ") for line in told)


def test_silence_is_between_two_moments_and_their_arrivals() -> None:
    assert longest_silence([], 1.0, 4.0) == 3.0
    assert longest_silence([0.5, 2.0, 2.5, 9.0], 1.0, 4.0) == 1.5
    assert longest_silence([1.5, 2.0, 2.5, 3.5], 1.0, 4.0) == 1.0


def test_a_daemon_that_grows_is_told_of() -> None:
    first = Size(100.0, 30, 10)
    assert not list(bounded(first, Size(150.0, 35, 12)))
    assert list(bounded(first, Size(400.0, 35, 12)))
    assert list(bounded(first, Size(100.0, 60, 12)))


def test_a_log_holds_no_traceback() -> None:
    assert unseemly("vpngate: all is well\nvpngate: so it is\n") == []
    log = "one\nTraceback (most recent call last):\n  File x\nValueError: no\n"
    assert len(unseemly(log)) == 1
    assert len(unseemly("interfaces: this should not have happened\n" + log)) == 2
