# SPDX-License-Identifier: GPL-2.0-or-later
"""Steps grow and shrink towards the time that one may take."""

import pytest

from vpngate.kernel.table.pace import HOLD, Pace

FIRST, LEAST, MOST = 2_000, 500, 20_000


def pace() -> Pace:
    return Pace(FIRST, LEAST, MOST)


@pytest.mark.parametrize(
    ("rate", "size"),
    [
        pytest.param(250_000, 250_000 * HOLD, id="a usual machine"),
        pytest.param(1_000, LEAST, id="a slow one"),
        pytest.param(1e9, MOST, id="a quick one"),
    ],
)
def test_finds_the_size_that_fits(rate: float, size: float) -> None:
    one = pace()
    for _ in range(10):
        one.took(one.size, one.size / rate)
    assert one.size == pytest.approx(size, rel=0.01)


def test_grows_no_faster_than_twofold() -> None:
    one = pace()
    one.took(FIRST, 0.0)
    assert one.size == 2 * FIRST


def test_a_leftover_teaches_nothing() -> None:
    one = pace()
    one.took(FIRST // 2 - 1, HOLD)
    assert one.size == FIRST
