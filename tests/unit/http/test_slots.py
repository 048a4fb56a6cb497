# SPDX-License-Identifier: GPL-2.0-or-later
"""Who has to go when there are too many."""

from dataclasses import dataclass, field

import pytest

from vpngate.http.slots import Admission, peer_of


@dataclass(eq=False)
class Guest:
    peer: str = "a"
    stalled: bool = False
    dropped: bool = field(default=False, init=False)

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
