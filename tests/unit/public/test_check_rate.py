# SPDX-License-Identifier: GPL-2.0-or-later
"""How often the self-check is answered, and how much of that is remembered."""

from vpngate.public.check_rate import CheckRate, Refill


def rate(most: int = 100) -> CheckRate:
    return CheckRate(Refill(3, 1), Refill(10, 2), most)


def test_a_caller_has_a_share_that_comes_back() -> None:
    some = rate()
    assert [some.take("a", 0.0) for _ in range(5)] == [True] * 3 + [False] * 2
    assert some.take("b", 0.0)
    assert [some.take("a", 1.5) for _ in range(2)] == [True, False]
    assert [some.take("a", 100.0) for _ in range(4)] == [True] * 3 + [False]


def test_all_together_have_one_too() -> None:
    some = rate()
    assert sum(some.take(f"caller {n}", 0.0) for n in range(50)) == 10
    assert sum(some.take(f"caller {n}", 1.0) for n in range(50)) == 2


def test_who_asks_beyond_his_share_takes_nothing_of_the_others() -> None:
    some = rate()
    for _ in range(1000):
        some.take("greedy", 0.0)
    assert sum(some.take(f"caller {n}", 0.0) for n in range(7)) == 7


def test_little_is_remembered_and_not_for_long() -> None:
    some = rate(most=8)
    for number in range(1000):
        some.take(f"caller {number}", number / 1000)
        assert len(some) <= 8
    some.take("later", 10.0)
    assert len(some) == 1


def test_a_clock_that_goes_back_gives_nothing() -> None:
    some = rate()
    assert [some.take("a", 5.0) for _ in range(3)] == [True] * 3
    assert not some.take("a", 1.0)
