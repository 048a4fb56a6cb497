# SPDX-License-Identifier: GPL-2.0-or-later
"""A confirmation rests on halves that crossed opposite gates.

The client is a subscriber throughout: what it sends comes in. What others send in its
name, or to it, comes where they live.
"""

from itertools import permutations, product

import pytest

from tests.unit.flows.wire import CLIENT, IN, OUT, SERVER, Wire
from vpngate.packets import Endpoint, HookPoint
from vpngate.recognition import Evidence, Gate, Role, Sighting

Half = tuple[Endpoint, Role, Gate]
TOKEN = b"one"


def said(*halves: Half) -> Sighting | None:
    """The confirmation that these packets lead to, None if they lead to none."""
    wire = Wire()
    sightings = [
        wire.send(sender, role, TOKEN, gate=gate) for sender, role, gate in halves
    ]
    confirming = (s for s in sightings if s and s.evidence is Evidence.CONFIRMED)
    return next(confirming, None)


def confirmed(*halves: Half) -> bool:
    return said(*halves) is not None


@pytest.mark.parametrize(("asked", "answered"), [*product((IN, OUT), (IN, OUT))])
def test_question_and_answer_cross_opposite_hooks(asked: Gate, answered: Gate) -> None:
    halves = (CLIENT, Role.INITIATION, asked), (SERVER, Role.RESPONSE, answered)
    assert confirmed(*halves) is (asked is not answered)


@pytest.mark.parametrize(("asked", "answered"), [*product((IN, OUT), (IN, OUT))])
def test_so_do_both_ends_of_an_exchange(asked: Gate, answered: Gate) -> None:
    halves = (CLIENT, Role.EXCHANGE, asked), (SERVER, Role.EXCHANGE, answered)
    assert confirmed(*halves) is (asked is not answered)


def test_the_hooks_are_told() -> None:
    sighting = said((CLIENT, Role.INITIATION, IN), (SERVER, Role.RESPONSE, OUT))
    assert sighting is not None
    assert sighting.crossing == (frozenset({IN}), frozenset({OUT}))
    assert sighting.initiator == CLIENT


def test_the_hooks_are_told_of_the_flows_initiator_first() -> None:
    wire = Wire()
    wire.send(CLIENT, Role.INITIATION, b"1", gate=IN)
    wire.send(SERVER, Role.RESPONSE, b"1", gate=OUT)
    wire.wait(120)  # the other end takes new keys
    wire.send(SERVER, Role.INITIATION, b"2", gate=OUT)
    sighting = wire.send(CLIENT, Role.RESPONSE, b"2", gate=IN)
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


def at(port: int) -> tuple[Gate, Gate]:
    """In and out by one of a bridge's ports, where it matters by which."""
    return Gate(HookPoint.INGRESS, port), Gate(HookPoint.EGRESS, port)


def test_on_a_bridge_both_halves_cross_one_port() -> None:
    (in_0, out_0), (in_1, out_1) = at(10), at(11)
    question, answer = (CLIENT, Role.INITIATION), (SERVER, Role.RESPONSE)
    assert confirmed((*question, in_0), (*answer, out_0))
    assert not confirmed((*question, in_0), (*answer, out_1))
    # Between two subscribers.
    genuine = (
        (*question, in_0),
        (*question, out_1),
        (*answer, in_1),
        (*answer, out_0),
    )
    assert confirmed(*genuine)


def test_what_one_port_sends_is_never_both_halves_however_it_is_flooded() -> None:
    """Copies may be lost on the way, too: any of them, in any order."""
    (in_1, _), *others = (at(port) for port in (11, 10, 12))
    copies = [
        (*half, gate)
        for half in ((CLIENT, Role.INITIATION), (SERVER, Role.RESPONSE))
        for gate in (in_1, *(out for _, out in others))
    ]
    for size in range(2, len(copies) + 1):
        for order in permutations(copies, size):
            assert not confirmed(*order)


def test_the_initiators_last_word_comes_where_its_first_came() -> None:
    for gate in (IN, OUT):
        wire = Wire()
        wire.send(CLIENT, Role.INITIATION, TOKEN, gate=IN)
        wire.send(SERVER, Role.RESPONSE, gate=OUT, conclusive=False)
        sighting = wire.send(CLIENT, Role.FOLLOW_UP, TOKEN, gate=gate)
        assert (sighting is not None) is (gate is IN)


def test_an_answer_that_names_nobody_crosses_the_opposite_hook_too() -> None:
    wire = Wire()
    wire.send(CLIENT, Role.INITIATION, TOKEN, gate=IN)
    wire.send(SERVER, Role.RESPONSE, gate=IN, conclusive=False)
    assert wire.send(CLIENT, Role.FOLLOW_UP, TOKEN, gate=IN) is None


@pytest.mark.parametrize("gate", [None, IN, OUT])
@pytest.mark.parametrize("one_way", [False, True])
def test_one_packet_alone_has_to_come_in(gate: Gate | None, *, one_way: bool) -> None:
    sighting = Wire().send(CLIENT, Role.INITIATION, gate=gate, one_way=one_way)
    assert sighting is not None
    assert sighting.one_way is (one_way and gate is IN)


def test_a_forged_opening_does_not_keep_the_real_one_from_being_answered() -> None:
    wire = Wire()
    wire.send(SERVER, Role.INITIATION, TOKEN, gate=OUT)
    wire.send(CLIENT, Role.INITIATION, TOKEN, gate=IN)
    assert wire.send(SERVER, Role.RESPONSE, TOKEN, gate=OUT) is not None
