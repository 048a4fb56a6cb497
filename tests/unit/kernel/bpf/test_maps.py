# SPDX-License-Identifier: GPL-2.0-or-later
"""How many processors the kernel's lists name."""

import pytest

from vpngate.kernel.bpf.maps import count_of, processors


@pytest.mark.parametrize(
    ("listed", "count"),
    [("0\n", 1), ("0-1\n", 2), ("0-127", 128), ("0,2-3\n", 3), ("0-1,4,6-7", 5)],
)
def test_lists(listed: str, count: int) -> None:
    assert count_of(listed) == count


def test_this_machine() -> None:
    assert processors() >= 1
