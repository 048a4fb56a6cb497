# SPDX-License-Identifier: GPL-2.0-or-later
"""Names that fit, and numbers that nobody else has."""

import struct
from itertools import chain
from typing import cast

import pytest

from vpngate.kernel.shaping.devices.naming import free_majors, ifb_name, ifb_names
from vpngate.kernel.shaping.places import IFBS
from vpngate.kernel.wire.channel import Channel

TABLES = ("v", "vpngate", "vpngate1", "vpngate_1", "VPNGATE", "t" * 31, "t" * 32)


class Qdiscs:
    """A machine with these numbers in use."""

    def __init__(self, *taken: int) -> None:
        self._taken = taken

    def dump(self, _: bytes) -> list[bytes]:
        return [struct.pack("=BxxxiIII", 0, 1, n << 16, 0, 0) for n in self._taken]


def majors(*taken: int) -> list[int]:
    return free_majors(cast("Channel", Qdiscs(*taken)))


def test_names_fit_an_interface_and_no_two_tables_share_one() -> None:
    names = list(chain.from_iterable(map(ifb_names, TABLES)))
    assert len(set(names)) == len(names) == IFBS * len(TABLES)
    assert all(len(name) < 16 for name in names)
    assert ifb_name("vpngate") == "ifb-vpngate"
    assert ifb_name("vpngate", 63) == "ifb-vpngate.63"


def test_numbers_are_not_those_of_the_queues_of_classes() -> None:
    found = majors()
    assert len(set(found)) == IFBS
    assert all(number % 16 > 1 for number in found)


def test_another_daemons_numbers_are_left_to_it_also_those_it_will_take() -> None:
    first = majors()
    assert not set(first) & set(majors(first[0]))
    assert not set(first) & set(majors(first[17]))


@pytest.mark.parametrize("step", [1, 40])
def test_where_no_run_is_free_single_numbers_are_taken(step: int) -> None:
    taken = range(0x7667, 0x7F00, step)
    found = majors(*taken)
    assert len(found) == IFBS
    assert not set(found) & set(taken)
