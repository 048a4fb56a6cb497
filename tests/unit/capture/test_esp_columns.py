# SPDX-License-Identifier: GPL-2.0-or-later
"""Packets of ESP in a row: what is asked of many at once is what is asked of each."""

from random import Random
from typing import NamedTuple

import numpy as np
import pytest

from vpngate.capture.esp_columns import EspRow, known, last_two, steps_ahead
from vpngate.flows.running import FASTEST

_NUMBERS = 1 << 32


class Case(NamedTuple):
    """Some sequences, which flows they are of, and packets of theirs."""

    flows: list[int]
    highest: list[int]
    ahead: list[int]
    last_seen: list[float]  # by flow
    until: list[float]
    packets: list[tuple[int, int, float]]  # sequence, number, time


def _case(random: Random) -> Case:
    """Mostly as it should be; one thing in a few is not."""
    flows = [random.randrange(3) for _ in range(4)]
    highest = [random.choice([0, 7, _NUMBERS - 3]) for _ in flows]
    ahead = [random.randrange(3) for _ in flows]
    packets, numbers, now = [], [h + a for h, a in zip(highest, ahead, strict=True)], 10
    for _ in range(40):
        which = random.randrange(len(flows))
        numbers[which] += random.choice([1] * 20 + [0, 2, 50, FASTEST, FASTEST + 1, -1])
        now += random.choice([1] * 20 + [0, -1, -30])
        packets.append((which, numbers[which] % _NUMBERS, float(now)))
    return Case(
        flows,
        highest,
        ahead,
        [random.choice([0.0, 9.0, 11.0]) for _ in range(3)],
        [random.choice([30.0, 1e9]) for _ in range(3)],
        packets,
    )


def _one_by_one(case: Case) -> int:
    """How many go on as they should, asked as `Steady.takes` asks."""
    ahead, last_seen = list(case.ahead), list(case.last_seen)
    for place, (which, number, now) in enumerate(case.packets):
        flow = case.flows[which]
        step = (number - case.highest[which]) % _NUMBERS
        on_time = last_seen[flow] <= now < case.until[flow]
        if not (ahead[which] < step <= FASTEST and on_time):
            return place
        ahead[which], last_seen[flow] = step, now
    return len(case.packets)


def _at_once(case: Case) -> int:
    of, numbers, times = (
        np.array(column) for column in zip(*case.packets, strict=True)
    )
    row = EspRow([], of, numbers, times)
    of_each = [
        [kept[flow] for flow in case.flows] for kept in (case.last_seen, case.until)
    ]
    told = known(case.highest, case.ahead, case.flows, *of_each)
    return len(steps_ahead(row, told, FASTEST))


@pytest.mark.parametrize("seed", range(10))
def test_as_many_go_on_as_one_by_one(seed: int) -> None:
    random = Random(seed)
    cases = [_case(random) for _ in range(100)]
    expected = [_one_by_one(case) for case in cases]
    assert [_at_once(case) for case in cases] == expected
    assert len(set(expected)) > 10, "all end alike: nothing is shown"


@pytest.mark.parametrize(
    ("packets", "count"),
    [
        ([(0, 8, 20.0), (1, 8, 19.0)], 1),  # times within a flow
        ([(0, 8, 20.0), (2, 8, 19.0)], 2),  # another flow's are its own
        ([(0, 8, 20.0), (0, 9, 30.0)], 1),  # it has to be looked at
        ([(0, 8, 9.0)], 0),
        ([(0, 8, 20.0), (0, 8, 21.0)], 1),  # the number again
        ([(0, 7 + FASTEST, 20.0), (0, 8 + FASTEST, 20.0)], 1),
    ],
)
def test_what_ends_a_row(packets: list[tuple[int, int, float]], count: int) -> None:
    case = Case([0, 0, 1], [7, 7, 7], [0, 0, 0], [10.0, 10.0], [30.0, 99.0], packets)
    assert (_at_once(case), _one_by_one(case)) == (count, count)


def test_the_last_two_of_each_are_told() -> None:
    found = list(last_two(np.array([2, 0, 2, 2, 1, 0])))
    assert found == [(0, 1, 5), (1, None, 4), (2, 2, 3)]
