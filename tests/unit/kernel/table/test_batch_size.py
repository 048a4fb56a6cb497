# SPDX-License-Identifier: GPL-2.0-or-later
"""Transactions grow and shrink towards the time that one may take."""

import pytest

from vpngate.kernel.table.batch_size import FIRST, HOLD, LEAST, MOST, BatchSize


@pytest.mark.parametrize(
    ("rate", "size"),
    [
        pytest.param(250_000, 250_000 * HOLD, id="a usual machine"),
        pytest.param(1_000, LEAST, id="a slow one"),
        pytest.param(1e9, MOST, id="a quick one"),
    ],
)
def test_finds_the_size_that_fits(rate: float, size: float) -> None:
    batch = BatchSize()
    for _ in range(10):
        batch.took(batch.size, batch.size / rate)
    assert batch.size == pytest.approx(size, rel=0.01)


def test_grows_no_faster_than_twofold() -> None:
    batch = BatchSize()
    batch.took(FIRST, 0.0)
    assert batch.size == 2 * FIRST


def test_a_leftover_teaches_nothing() -> None:
    batch = BatchSize()
    batch.took(FIRST // 2 - 1, HOLD)
    assert batch.size == FIRST
