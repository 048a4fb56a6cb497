# SPDX-License-Identifier: GPL-2.0-or-later
"""How often the self-check is answered, and how much of that is remembered."""

import pytest

from vpngate.public.check_rate import CheckRate, Refill, share_of


def rate(most: int = 100) -> CheckRate:
    return CheckRate(Refill(3, 1), Refill(10, 2), most)


def test_a_caller_has_a_share_that_comes_back() -> None:
    some = rate()
    assert [some.take("a", 0.0) for _ in range(5)] == [True] * 3 + [False] * 2
    assert some.take("b", 0.0)
    assert [some.take("a", 1.5) for _ in range(2)] == [True, False]
    assert [some.take("a", 100.0) for _ in range(4)] == [True] * 3 + [False]


def test_all_together_have_one_too_of_what_is_dear() -> None:
    some = rate()
    assert sum(some.take_dear(0.0) for _ in range(50)) == 10
    assert sum(some.take_dear(1.0) for _ in range(50)) == 2


def test_no_caller_can_use_up_the_share_of_another() -> None:
    some = rate()
    for number in range(1000):
        some.take(f"greedy {number % 20}", 0.0)
        some.take_dear(0.0)
    assert [some.take(f"caller {n}", 0.0) for n in range(50)] == [True] * 50


@pytest.mark.parametrize(
    ("address", "other", "alike"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8:1::1", "2001:db8:1:ffff::1", True),
        ("2001:db8:1::1", "2001:db8:2::1", False),
        ("fe80::1%lan0", "fe80::2%lan1", True),
    ],
)
def test_whose_share_it_is(address: str, other: str, *, alike: bool) -> None:
    assert (share_of(address) == share_of(other)) is alike


def test_little_is_remembered_and_not_for_long() -> None:
    some = rate(most=8)
    for number in range(1000):
        some.take(f"caller {number}", number / 1000)
        assert len(some) <= 8
    some.take("later", 10.0)
    assert len(some) == 1


def test_whom_it_forgets_and_when_the_next() -> None:
    some = rate()
    assert some.forget(0.0) is None
    some.take("a", 0.0)
    some.take("b", 1.0)
    assert (some.forget(2.0), len(some)) == (1.0, 2)
    assert (some.forget(3.0), len(some)) == (1.0, 1)
    assert (some.forget(4.0), len(some)) == (None, 0)


def test_a_clock_that_goes_back_gives_nothing() -> None:
    some = rate()
    assert [some.take("a", 5.0) for _ in range(3)] == [True] * 3
    assert not some.take("a", 1.0)
