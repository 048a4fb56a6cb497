# SPDX-License-Identifier: GPL-2.0-or-later
"""Who has to go when there are too many."""

from dataclasses import dataclass, field

import pytest

from vpngate.http.slots import TURNS, Admission, peer_of


@dataclass(eq=False)
class Guest:
    peer: str = "a"
    stalled: bool = False
    in_the_making: bool = False
    dropped: bool = field(default=False, init=False)
    begun: int = field(default=0, init=False)
    refused: int = field(default=0, init=False)

    def begin(self) -> None:
        self.begun += 1

    def refuse(self) -> None:
        self.refused += 1

    def drop(self) -> None:
        self.dropped = True


def dropped(guests: list[Guest]) -> list[int]:
    return [place for place, guest in enumerate(guests) if guest.dropped]


@pytest.mark.parametrize(
    ("address", "peer"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "20010db800010002/64"),
        ("2001:db8:1:2::1", "20010db800010002/64"),
        ("fe80::1%lan0", "fe80000000000000/64"),
    ],
)
def test_a_peer_is_an_address_or_its_64(address: str, peer: str) -> None:
    assert peer_of(address) == peer


def test_of_one_peer_the_one_that_waits_the_longest_goes() -> None:
    admission = Admission[Guest](waiting=4, answering=4)
    guests = [Guest() for _ in range(7)]
    for guest in guests:
        admission.wait(guest)
    assert dropped(guests) == [0, 1, 2]
    assert admission.all() == guests[3:]


def test_the_peer_that_has_the_most_gives() -> None:
    admission = Admission[Guest](waiting=6, answering=4)
    first = Guest("b")
    admission.wait(first)
    crowd = [Guest("a") for _ in range(50)]
    for guest in crowd:
        admission.wait(guest)
    assert not first.dropped
    assert dropped(crowd) == list(range(45))
    # Until all have the same; then whoever came first makes room.
    others = [Guest(name) for name in "cdef"]
    for guest in others:
        admission.wait(guest)
    assert dropped(crowd) == list(range(49))
    assert not first.dropped
    admission.wait(Guest("g"))
    assert first.dropped


def test_waiting_and_answering_do_not_keep_each_other_out() -> None:
    admission = Admission[Guest](waiting=2, answering=2)
    asked = [Guest() for _ in range(2)]
    for guest in asked:
        admission.wait(guest)
        assert admission.answer(guest)
    silent = [Guest() for _ in range(5)]
    for guest in silent:
        admission.wait(guest)
    assert dropped(asked) == []
    assert dropped(silent) == [0, 1, 2]


def test_an_answer_on_its_way_is_interrupted_for_a_fair_share_only() -> None:
    admission = Admission[Guest](waiting=9, answering=3)
    busy = [Guest() for _ in range(3)]
    for guest in busy:
        admission.wait(guest)
        assert admission.answer(guest)
    own = Guest()
    admission.wait(own)
    assert not admission.answer(own)
    other = Guest("b")
    admission.wait(other)
    assert admission.answer(other)
    assert dropped(busy) == [0]
    # Two of a, one of b: one more of b would only turn it round.
    second = Guest("b")
    admission.wait(second)
    assert not admission.answer(second)
    busy[2].stalled = True
    assert admission.answer(second)
    assert dropped(busy) == [0, 2]


def test_who_has_its_answer_goes_before_who_has_not_asked() -> None:
    admission = Admission[Guest](waiting=3, answering=1)
    guests = [Guest() for _ in range(4)]
    for guest in guests[:2]:
        admission.wait(guest)
    admission.wait(guests[2])
    assert admission.answer(guests[2])
    admission.linger(guests[2])
    admission.wait(guests[3])
    assert dropped(guests) == [2]
    admission.wait(Guest())
    assert dropped(guests) == [0, 2]


def test_who_leaves_frees_a_seat() -> None:
    admission = Admission[Guest](waiting=1, answering=1)
    for _ in range(3):
        guest = Guest()
        admission.wait(guest)
        assert admission.answer(guest)
        admission.linger(guest)
        admission.leave(guest)
        admission.leave(guest)
        assert admission.all() == []
        assert not guest.dropped


def all_in_the_making(number: int) -> tuple[Admission[Guest], list[Guest]]:
    admission = Admission[Guest](waiting=3, answering=number)
    guests = [Guest(in_the_making=True) for _ in range(number)]
    for guest in guests:
        admission.wait(guest)
        assert admission.answer(guest)
    return admission, guests


def in_turn(admission: Admission[Guest]) -> Guest:
    guest = Guest()
    admission.wait(guest)
    assert not admission.answer(guest)
    assert admission.queue(guest)
    return guest


def test_each_has_its_turn_when_a_slot_is_free() -> None:
    admission, made = all_in_the_making(2)
    first, second = in_turn(admission), in_turn(admission)
    admission.linger(made[0])
    assert (first.begun, second.begun) == (1, 0)
    admission.leave(made[1])
    assert (first.begun, second.begun) == (1, 1)
    assert set(admission.all()) == {first, second, made[0]}


def test_nobody_waits_behind_callers_who_take_their_time() -> None:
    admission, made = all_in_the_making(2)
    waits = in_turn(admission)
    for guest in made:
        guest.in_the_making = False  # they are sent now
    later = Guest()
    admission.wait(later)
    assert not admission.answer(later)
    assert not admission.queue(later)
    admission.look()
    assert waits.refused == 1
    assert dropped(made) == []


def test_whose_turn_it_is_has_the_place_of_an_answer_that_nobody_takes() -> None:
    admission, made = all_in_the_making(1)
    waits = in_turn(admission)
    made[0].in_the_making, made[0].stalled = False, True
    admission.look()
    assert (waits.begun, waits.refused) == (1, 0)
    assert dropped(made) == [0]


def test_a_turn_is_waited_for_so_many_looks() -> None:
    """However long one was in coming: then the answers were, too."""
    admission, _ = all_in_the_making(1)
    waits = in_turn(admission)
    for _ in range(TURNS):
        admission.look()
        assert not waits.refused
    admission.look()
    admission.look()
    assert waits.refused == 1


def test_who_waits_for_a_turn_goes_before_who_has_not_asked() -> None:
    admission, _ = all_in_the_making(1)
    asking, other = Guest(), Guest("b")
    admission.wait(asking)
    waits = in_turn(admission)
    admission.wait(other)
    admission.wait(Guest())
    assert waits.refused == 1
    assert not asking.dropped
    assert not other.dropped
