# SPDX-License-Identifier: GPL-2.0-or-later
"""What an array of bounds tells, also about the highest address that fills it up."""

import numpy as np
import pytest

from vpngate.kernel.bpf.spared_arrays import _padded, bounds_of
from vpngate.kernel.programmed.memory.set_memory import _WORDS, ReadBounds
from vpngate.kernel.table.readback import counted
from vpngate.packets import Family
from vpngate.prefixes.intervals import Intervals
from vpngate.prefixes.rows import Rows, rows_of

HIGHEST = {
    Family.IPV4: "255.255.255.255/32",
    Family.IPV6: f"{'ffff:' * 7}ffff/128",
}
AT_THE_END = {
    Family.IPV4: ("255.255.255.254/32", "255.255.255.254/31"),
    Family.IPV6: (f"{'ffff:' * 7}fffe/128", f"{'ffff:' * 7}fffe/127"),
}


def read(family: Family, *prefixes: str) -> tuple[Intervals, ReadBounds]:
    held = Intervals.of_prefixes(prefixes)
    filled = _padded(family, bounds_of(held.of(family)), 6)
    return held, ReadBounds(family, (np.frombuffer(filled, _WORDS[family]),))


def last_few(family: Family) -> Rows:
    """The three highest addresses."""
    highest = (1 << 8 * family.width) - 1
    few = (highest - n for n in range(3))
    return rows_of(b"".join(one.to_bytes(family.width, "big") for one in few), family)


@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize("number", range(4))
def test_the_highest_addresses_are_told_apart(family: Family, number: int) -> None:
    those = ((), (HIGHEST[family],), *((one,) for one in AT_THE_END[family]))
    held, told = read(family, *those[number])
    asked = last_few(family)
    starts = told.starts(asked)
    assert [one is not None for one in starts] == held.contains_each(asked).tolist()
    first = held.of(family).first
    assert all(one == first[-1].tobytes() for one in starts if one is not None)
    assert told.tally() == counted(held.of(family))
