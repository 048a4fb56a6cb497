# SPDX-License-Identifier: GPL-2.0-or-later
"""Totals of classes that come, go, and are made again under the same number."""

from random import Random

from vpngate.kernel.shaping.passed import Tally
from vpngate.kernel.shaping.places import class_direction, minor
from vpngate.kernel.shaping.readings import ClassReading
from vpngate.packets import Direction

UP, DOWN = (minor(7, direction) for direction in (Direction.UPLOAD, Direction.DOWNLOAD))


def done(octets: int, packets: int, drops: int = 0) -> ClassReading:
    return ClassReading(b"", 0, octets, packets, drops, backlog=0)


def of(tally: Tally, direction: Direction) -> tuple[int, int, int]:
    total = tally.totals[direction]
    return total.bytes, total.packets, total.dropped


def test_a_class_tells_its_direction() -> None:
    for direction in Direction:
        assert class_direction(minor(12, direction)) is direction


def test_what_classes_do_is_added_up_by_direction() -> None:
    tally = Tally()
    tally.take({UP: done(1000, 2), DOWN: done(500, 1, 3)})
    tally.take({UP: done(3000, 5), DOWN: done(500, 1, 4), UP + 32: done(10, 1)})
    assert of(tally, Direction.UPLOAD) == (3010, 6, 0)
    assert of(tally, Direction.DOWNLOAD) == (500, 1, 4)


def test_a_class_that_is_gone_keeps_what_it_has_passed() -> None:
    tally = Tally()
    tally.take({UP: done(1000, 2, 1)})
    tally.gone([UP, DOWN])
    assert of(tally, Direction.UPLOAD) == (1000, 2, 1)
    tally.take({UP: done(5000, 9, 4)})
    assert of(tally, Direction.UPLOAD) == (6000, 11, 5)
    tally.take({})  # it was removed by hand: nothing is told of it any more
    tally.all_gone(0)
    tally.take({UP: done(1, 1)})
    assert of(tally, Direction.UPLOAD) == (6001, 12, 5)


def test_a_class_in_another_ones_place_begins_at_zero() -> None:
    tally = Tally()
    tally.take({UP: done(1000, 20, 5)})
    tally.take({UP: done(100, 2, 1)})
    assert of(tally, Direction.UPLOAD) == (1100, 22, 6)


def test_another_class_shows_by_any_count_that_went_back() -> None:
    """One that was made anew by hand may have passed more since, of larger packets."""
    tally = Tally()
    tally.take({UP: done(10_000, 200, 50)})
    tally.take({UP: done(30_000, 20, 50)})
    assert of(tally, Direction.UPLOAD) == (40_000, 220, 100)
    tally.take({UP: done(30_000, 20, 3)})
    assert of(tally, Direction.UPLOAD) == (70_000, 240, 103)


def test_an_ifb_that_is_gone_takes_no_other_with_it() -> None:
    tally = Tally()
    tally.take({UP: done(1000, 10), 1 << 16 | UP: done(500, 5)})
    tally.all_gone(1)
    tally.take({UP: done(1000, 10), 1 << 16 | UP: done(600, 6)})
    assert of(tally, Direction.UPLOAD) == (2100, 21, 0)


def test_counts_of_32_bits_go_round() -> None:
    tally = Tally()
    tally.take({UP: done(1 << 40, (1 << 32) - 1, (1 << 32) - 2)})
    tally.take({UP: done((1 << 40) + 9, 1, 2)})
    assert of(tally, Direction.UPLOAD) == ((1 << 40) + 9, (1 << 32) + 1, (1 << 32) + 2)


def test_totals_never_go_back_and_lose_nothing_that_was_read() -> None:
    choice = Random(1)
    tally, truth = Tally(), dict.fromkeys(Direction, 0)
    classes: dict[int, int] = {}
    for _ in range(2000):
        number = choice.randrange(20) * 16
        event = choice.choice(("pass", "pass", "read", "remove", "rebuild"))
        before = {direction: of(tally, direction) for direction in Direction}
        if event == "pass":
            size = choice.randrange(1, 1500)
            classes[number] = classes.get(number, 0) + size
            truth[class_direction(number)] += size
        elif event == "remove" and number in classes:
            tally.take({number: done(classes[number], 0)})
            tally.gone([number])
            del classes[number]
        else:
            tally.take({n: done(octets, 0) for n, octets in classes.items()})
            assert {d: tally.totals[d].bytes for d in Direction} == truth
            if event == "rebuild":
                tally.all_gone(0)
                classes.clear()
        for direction in Direction:
            pairs = zip(before[direction], of(tally, direction), strict=True)
            assert all(now >= then for then, now in pairs)
