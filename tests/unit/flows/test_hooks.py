# SPDX-License-Identifier: GPL-2.0-or-later
"""A confirmation rests on halves that crossed opposite hooks.

The client is a subscriber throughout: what it sends comes in. What others send in its
name, or to it, comes where they live.
"""

from itertools import product

import pytest

from tests.unit.flows.wire import CLIENT, IN, OUT, SERVER, Wire
from vpngate.packets import Endpoint, HookPoint
from vpngate.recognition import Evidence, Role, Sighting

Half = tuple[Endpoint, Role, HookPoint]
TOKEN = b"one"


def said(*halves: Half) -> Sighting | None:
    """The confirmation that these packets lead to, None if they lead to none."""
    wire = Wire()
    sightings = [
        wire.send(sender, role, TOKEN, hook=hook) for sender, role, hook in halves
    ]
    confirming = (s for s in sightings if s and s.evidence is Evidence.CONFIRMED)
    return next(confirming, None)


def confirmed(*halves: Half) -> bool:
    return said(*halves) is not None


@pytest.mark.parametrize(("asked", "answered"), [*product(HookPoint, HookPoint)])
def test_question_and_answer_cross_opposite_hooks(
    asked: HookPoint, answered: HookPoint
) -> None:
    halves = (CLIENT, Role.INITIATION, asked), (SERVER, Role.RESPONSE, answered)
    assert confirmed(*halves) is (asked is not answered)


@pytest.mark.parametrize(("asked", "answered"), [*product(HookPoint, HookPoint)])
def test_so_do_both_ends_of_an_exchange(asked: HookPoint, answered: HookPoint) -> None:
    halves = (CLIENT, Role.EXCHANGE, asked), (SERVER, Role.EXCHANGE, answered)
    assert confirmed(*halves) is (asked is not answered)


def test_the_hooks_are_told() -> None:
    sighting = said((CLIENT, Role.INITIATION, IN), (SERVER, Role.RESPONSE, OUT))
    assert sighting is not None
    assert sighting.crossing == (frozenset({IN}), frozenset({OUT}))
    assert sighting.initiator == CLIENT


def test_the_hooks_are_told_of_the_flows_initiator_first() -> None:
    wire = Wire()
    wire.send(CLIENT, Role.INITIATION, b"1", hook=IN)
    wire.send(SERVER, Role.RESPONSE, b"1", hook=OUT)
    wire.wait(120)  # the other end takes new keys
    wire.send(SERVER, Role.INITIATION, b"2", hook=OUT)
    sighting = wire.send(CLIENT, Role.RESPONSE, b"2", hook=IN)
    assert sighting is not None
    assert sighting.initiator == CLIENT
    assert sighting.crossing == (frozenset({IN}), frozenset({OUT}))


BOTH = (
    (CLIENT, Role.INITIATION, IN),
    (CLIENT, Role.INITIATION, OUT),
    (SERVER, Role.RESPONSE, IN),
    (SERVER, Role.RESPONSE, OUT),
)


def test_between_two_subscribers_it_takes_all_four() -> None:
    assert confirmed(*BOTH)
    for missing in BOTH[1:]:
        assert not confirmed(*(half for half in BOTH if half is not missing))
    # Without the first one it looks as if the question had come from outside; the
    # answer was given by whom it was put to.
    sighting = said(*BOTH[1:])
    assert sighting is not None
    assert sighting.crossing == (frozenset({OUT}), frozenset({IN}))


@pytest.mark.parametrize(
    "halves",
    [
        pytest.param(
            ((CLIENT, Role.INITIATION, IN), (SERVER, Role.RESPONSE, IN)),
            id="a neighbour sends both, nothing goes out to the victim",
        ),
        pytest.param(
            ((CLIENT, Role.INITIATION, OUT), (SERVER, Role.RESPONSE, OUT)),
            id="the way back is checked: both are seen as they go out",
        ),
        pytest.param(
            (
                (CLIENT, Role.INITIATION, IN),
                (SERVER, Role.RESPONSE, IN),
                (SERVER, Role.RESPONSE, OUT),
            ),
            id="a neighbour on another port of a bridge sends both",
        ),
        pytest.param(
            (
                (SERVER, Role.INITIATION, IN),
                (SERVER, Role.INITIATION, OUT),
                (CLIENT, Role.RESPONSE, IN),
            ),
            id="the same, begun in the name of the other end",
        ),
        pytest.param(
            (
                (CLIENT, Role.INITIATION, IN),
                (CLIENT, Role.INITIATION, OUT),
                (SERVER, Role.RESPONSE, OUT),
            ),
            id="an answer from outside in the name of a subscriber",
        ),
    ],
)
def test_forged_halves_confirm_nothing(halves: tuple[Half, ...]) -> None:
    assert not confirmed(*halves)


def test_the_initiators_last_word_comes_where_its_first_came() -> None:
    for hook in HookPoint:
        wire = Wire()
        wire.send(CLIENT, Role.INITIATION, TOKEN, hook=IN)
        wire.send(SERVER, Role.RESPONSE, hook=OUT, conclusive=False)
        sighting = wire.send(CLIENT, Role.FOLLOW_UP, TOKEN, hook=hook)
        assert (sighting is not None) is (hook is IN)


def test_an_answer_that_names_nobody_crosses_the_opposite_hook_too() -> None:
    wire = Wire()
    wire.send(CLIENT, Role.INITIATION, TOKEN, hook=IN)
    wire.send(SERVER, Role.RESPONSE, hook=IN, conclusive=False)
    assert wire.send(CLIENT, Role.FOLLOW_UP, TOKEN, hook=IN) is None


@pytest.mark.parametrize("hook", [None, *HookPoint])
@pytest.mark.parametrize("one_way", [False, True])
def test_one_packet_alone_has_to_come_in(
    hook: HookPoint | None, *, one_way: bool
) -> None:
    sighting = Wire().send(CLIENT, Role.INITIATION, hook=hook, one_way=one_way)
    assert sighting is not None
    assert sighting.one_way is (one_way and hook is IN)


def test_a_forged_opening_does_not_keep_the_real_one_from_being_answered() -> None:
    wire = Wire()
    wire.send(SERVER, Role.INITIATION, TOKEN, hook=OUT)
    wire.send(CLIENT, Role.INITIATION, TOKEN, hook=IN)
    assert wire.send(SERVER, Role.RESPONSE, TOKEN, hook=OUT) is not None
