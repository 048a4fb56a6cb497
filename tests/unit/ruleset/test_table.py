# SPDX-License-Identifier: GPL-2.0-or-later
"""Keys of sets as nftables numbers and measures them."""

import pytest

from vpngate.packets import Family
from vpngate.ruleset.table import DataType, Nature, Set, address_type

V4, V6 = DataType.IPV4_ADDR, DataType.IPV6_ADDR


def keyed(*key: DataType) -> Set:
    return Set("one", key, Nature.EXPIRING, "")


@pytest.mark.parametrize(
    ("key", "number"),
    [
        ((V4,), 7),
        ((V6,), 8),
        ((V4, V4), 7 << 6 | 7),
        ((V6, V6, DataType.MARK), 8 << 12 | 8 << 6 | 19),
    ],
)
def test_a_concatenation_is_numbered_six_bits_a_part(
    key: tuple[DataType, ...], number: int
) -> None:
    assert keyed(*key).key_type == number


@pytest.mark.parametrize(
    ("key", "width"),
    [((V4,), 4), ((V6, V6), 32), ((V4, V6), 20), ((DataType.ETHER_TYPE,), 2)],
)
def test_widths_are_of_whole_registers_but_for_an_ethertype_alone(
    key: tuple[DataType, ...], width: int
) -> None:
    assert keyed(*key).key_width == width


@pytest.mark.parametrize("family", Family)
def test_an_address_is_as_wide_as_its_family_says(family: Family) -> None:
    assert address_type(family).width == family.width
