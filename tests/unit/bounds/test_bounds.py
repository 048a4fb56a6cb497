# SPDX-License-Identifier: GPL-2.0-or-later
"""Each bound: what passes it, what does not, and what nobody outside can do to it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpngate.bounds import CaptureLoss, SparedPackets, ThrottledShare
from vpngate.bounds.window import Window

LONG_AGO = -1000.0
MBIT = 10**6 // 8  # bytes a second


@given(
    st.lists(st.tuples(st.floats(0.01, 20), st.integers(0, 1000)), max_size=80),
    st.floats(1, 60),
)
def test_a_window_has_what_came_in_lately(
    steps: list[tuple[float, int]], length: float
) -> None:
    window, kept, now = Window(length, 1), list[tuple[float, int]](), 0.0
    for step, amount in steps:
        now += step
        window.add(now, amount)
        kept.append((now, amount))
        (held,) = window.sums(now)
        slot = length / 120
        assert held <= sum(n for at, n in kept if now - at <= length + 1e-9)
        assert held >= sum(n for at, n in kept if now - at < length - slot - 1e-9)


def test_a_window_forgets_without_anything_new() -> None:
    window = Window(60, 2)
    window.add(1.0, 3, 4)
    assert window.sums(61.0) == (3, 4)
    assert window.sums(61.1) == (0, 0)


def spared(*totals: tuple[float, int], changed: float = LONG_AGO) -> list[bool]:
    bound = SparedPackets()
    return [
        bool(bound.look(at, total, changed=changed, most=100)) for at, total in totals
    ]


def test_so_many_spared_packets_in_a_minute_are_too_many() -> None:
    assert spared((0, 7), (1, 106), (2, 107)) == [False, False, True]


def test_what_was_counted_before_the_first_look_does_not_count() -> None:
    assert spared((0, 10**9), (1, 10**9)) == [False, False]


def test_they_are_forgotten_after_a_minute() -> None:
    rows = [(0, 0), (1, 99), (62, 198)]
    assert not any(spared(*rows))
    assert spared(*rows, (63, 199))[-1]


@pytest.mark.parametrize("changed", [0.0, 10.0, 12.25])
def test_after_a_change_none_counts_for_five_seconds(changed: float) -> None:
    rows = [(changed + step / 2, 500 * step) for step in range(-2, 11)]
    assert not any(spared(*rows, changed=changed))
    late = [*rows, (changed + 5.5, 500 * 10 + 100)]
    assert spared(*late, changed=changed)[-1]


def test_a_counter_that_begins_anew_is_no_packets() -> None:
    assert spared((0, 10**6), (1, 0), (2, 99)) == [False, False, False]


def share(
    seconds: int, slow: float, whole: float, rate: int = 5_000_000, most: float = 0.3
) -> int | None:
    """After how many seconds at these rates (bytes a second) the bound is passed."""
    bound = ThrottledShare()
    for at in range(seconds):
        totals = int(at * slow), int(at * whole)
        if bound.look(float(at), *totals, rate=rate, most=most):
            return at
    return None


def test_too_large_a_share_is_told_once_there_is_traffic_enough() -> None:
    rate = 10_000_000 // (16 * 2)  # of sixteen subscribers, who are left out
    assert share(700, 40 * MBIT, 100 * MBIT, rate=rate) == 60  # 750 MB
    assert share(700, 39 * MBIT, 100 * MBIT, rate=rate) is None


def test_below_ten_megabit_no_share_tells_anything() -> None:
    assert share(3000, 9.9 * MBIT, 9.9 * MBIT, rate=32_000) is None
    assert share(3000, 10.1 * MBIT, 10.1 * MBIT, rate=32_000) is not None


@pytest.mark.parametrize("rate", [512_000, 5_000_000, 10**9])
@pytest.mark.parametrize("others", [0.0, 1.0, 30.0])
def test_a_few_heavy_tunnels_are_never_enough(rate: int, others: float) -> None:
    """As much as some subscribers' classes let pass, at night, with no one else."""
    passed = 16 * 2 * rate / 8
    assert share(1500, passed, passed * (1 + others), rate=rate) is None
    # The flood that it may offer beside counts as traffic, not as throttled.
    assert share(1500, passed, 50 * passed, rate=rate) is None


def test_a_share_is_of_ten_minutes() -> None:
    """What was throttled a quarter of an hour ago does not count, nor does the rest."""
    bound = ThrottledShare()
    slow = whole = 0
    first = None
    for at in range(1800):
        slow += 60 * MBIT
        whole += (1000 if at < 600 else 100) * MBIT
        if bound.look(float(at), slow, whole, rate=32_000, most=0.3):
            first = first or at
    # 59 a second against 30 % of 1000 for `left` of them and of 100 for the rest.
    left = (59 * 600 / 0.3 - 100 * 600) / 900
    assert first is not None
    assert 1200 - left - 10 <= first <= 1200 - left + 10


class Reading:
    """Somebody who reads copies; after each step nothing is left."""

    def __init__(self, most: float = 0.2) -> None:
        self.bound, self.at, self._most = CaptureLoss(), 100.0, most
        self.read(1)

    def read(
        self, copies: int, seconds: float = 1.0, before: int = 0, among: int = 0
    ) -> bool:
        """Whether the bound is passed by then."""
        self.at += seconds
        self.bound.drained(self.at, read=copies, before=before, among=among)
        return self.passed

    @property
    def passed(self) -> bool:
        return bool(self.bound.look(self.at, most=self._most))


def test_a_fifth_of_ordinary_copies_lost_is_too_much() -> None:
    one = Reading()
    assert not one.read(18_000, 27.0)  # nobody read for half a minute
    assert one.read(10, 0.5, before=22_000)
    for lost, too_much in ((110, True), (90, False)):
        one = Reading()
        assert any(one.read(500 - lost, among=lost) for _ in range(60)) is too_much


def test_what_was_lost_before_it_began_or_began_anew_is_forgotten() -> None:
    """Also where it shows with the first copy after that, much later."""
    bound = CaptureLoss()  # of a machine that has been up for days
    bound.drained(1e6, read=3000, before=9000, among=500)
    bound.drained(1e6 + 2, read=10, before=0, among=0)
    assert not bound.look(1e6 + 2, most=0.2)
    one = Reading()
    one.read(100, 60.0)
    one.bound.forget()
    one.read(0, 300.0)
    assert not one.read(1, 1.0, before=1500)
    assert not one.read(1, 2.0)
    assert one.read(1, 70.0, before=1500) or one.read(1, 2.0)


def test_a_few_copies_make_no_share() -> None:
    for lost in (99, 100):
        one = Reading()
        one.read(1, among=lost)
        assert one.read(1) is (lost == 100)


def idle(one: Reading, seconds: int) -> None:
    for _ in range(seconds):
        one.read(0)


@pytest.mark.parametrize("pause", [0, 1, 30])
@pytest.mark.parametrize("quiet", [0, 1, 30])
@pytest.mark.parametrize("seconds", [0.1, 0.5, 1.0, 4.0, 60.0])
def test_what_a_flood_costs_is_no_loss(quiet: int, pause: int, seconds: float) -> None:
    """Also where its end is lost, and the next copy comes much later."""
    one = Reading()
    idle(one, quiet)
    some = max(5000, int(5000 * seconds))
    one.read(some, seconds, among=some)
    idle(one, pause)
    assert not one.read(1, 0.3, before=some)
    assert not any(one.read(5) for _ in range(5))


def test_a_long_flood_is_no_loss() -> None:
    one = Reading()
    assert not any(one.read(5000, among=15_000) for _ in range(300))


def test_a_flood_hides_no_loss_that_comes_beside_it() -> None:
    one = Reading()
    one.read(20_000, 4.0, among=40_000)
    one.read(11_000, 20.0, before=100)
    assert one.read(1, before=9_000)


def test_what_is_read_in_bunches_is_no_flood() -> None:
    one = Reading()
    for _ in range(3):
        one.read(1500, 0.01, among=500)
        one.read(0, 0.99)
    assert one.read(1)


def test_losses_are_forgotten_after_a_minute_and_on_demand() -> None:
    for forgets in (False, True):
        one = Reading()
        one.read(500, among=500)
        assert one.read(1)
        if forgets:
            one.bound.forget()
        else:
            one.at += 60.5
        assert not one.passed
