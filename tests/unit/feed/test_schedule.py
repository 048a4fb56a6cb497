# SPDX-License-Identifier: GPL-2.0-or-later
from random import Random
from statistics import mean

from vpngate.feed import next_fetch


def test_a_fleet_spreads() -> None:
    random = Random(1)
    pauses = [next_fetch(3600, 0, random) for _ in range(1000)]
    assert 3240 <= min(pauses) < 3260
    assert 3940 < max(pauses) <= 3960
    assert abs(mean(pauses) - 3600) < 30


def test_failures_come_back_sooner_and_then_slower() -> None:
    random = Random(1)
    for failures, longest in ((1, 30), (2, 60), (4, 240), (7, 1920), (9, 3600)):
        pauses = [next_fetch(3600, failures, random) for _ in range(200)]
        assert longest / 2 <= min(pauses)
        assert max(pauses) <= longest
        assert max(pauses) - min(pauses) > longest / 4


def test_never_slower_than_the_refresh() -> None:
    random = Random(1)
    assert next_fetch(5, 1, random) <= 5
    assert next_fetch(3600, 10**6, random) <= 3600
