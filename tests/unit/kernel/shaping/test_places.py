# SPDX-License-Identifier: GPL-2.0-or-later
"""Places at their limits, and how buckets are spread over ifbs."""

import random
from collections import Counter

from vpngate.kernel.shaping.places import (
    IFBS,
    SLOTS,
    IfbPlaces,
    class_direction,
    ifb_of,
    minor,
)
from vpngate.packets import Direction


def test_there_is_room_for_more_than_a_qdisc_has_classes() -> None:
    places = IfbPlaces()
    taken = {places.take(bytes(4)) for _ in range(IFBS * SLOTS)}
    assert len(taken) == IFBS * SLOTS > 32_767
    assert {ifb_of(place) for place in taken} == set(range(IFBS))
    assert places.take(b"\0\0\0\1") in taken  # and the next shares one


def test_classes_are_multiples_of_16_and_no_two_are_one() -> None:
    numbers = set()
    places = IfbPlaces(ifbs=1)
    for _ in range(SLOTS):
        place = places.take(bytes(4))
        for direction in Direction:
            number = minor(place, direction)
            assert class_direction(number) is direction
            assert number % 16 == 0
            assert 16 < number < 0xFFFF  # not the root's, nor the one that is tried
            numbers.add(number)
    assert len(numbers) == 2 * SLOTS


def test_another_ifb_is_opened_when_those_open_have_enough() -> None:
    places = IfbPlaces()
    seen = [ifb_of(places.take(bytes(4))) for _ in range(20_000)]
    assert seen[:600] == [0] * 256 + [1] * 256 + [2] * 88
    assert max(Counter(seen).values()) - min(Counter(seen).values()) <= 1


def test_places_given_back_are_used_again_and_the_emptiest_ifb_is_filled() -> None:
    chance = random.Random(3)
    places, held = IfbPlaces(ifbs=4, slots=300), set[int]()
    for _ in range(5000):
        if held and chance.random() < 0.45:
            place = chance.choice(sorted(held))
            held.remove(place)
            places.give_back(place)
        elif len(held) < 4 * 300:
            place = places.take(bytes(4))
            assert place not in held
            held.add(place)


def test_who_shares_a_place_depends_on_the_address_alone() -> None:
    places = IfbPlaces(ifbs=2, slots=3)
    taken = [places.take(bytes(4)) for _ in range(6)]
    shared = [places.take(number.to_bytes(16, "big")) for number in range(60)]
    assert Counter(shared) == dict.fromkeys(taken, 10)
    assert shared == [places.take(number.to_bytes(16, "big")) for number in range(60)]
