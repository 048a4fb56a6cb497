# SPDX-License-Identifier: GPL-2.0-or-later
from vpngate.kernel.wire import elements
from vpngate.kernel.wire.elements import Element
from vpngate.packets import Family
from vpngate.prefixes.intervals import Intervals


def test_interval_on_the_wire() -> None:
    bounds = Intervals.of_prefixes(["192.0.2.0/24"]).of(Family.IPV4)
    packed, size = elements.pack_intervals(bounds)
    assert size == len(packed) == 40
    assert packed.hex() == (
        "10000180" "0c000180" "08000100" "c0000200"
        "18000180" "08000300" "00000001" "0c000180" "08000100" "c0000300"
    )  # fmt: skip


def test_top_of_the_address_space_has_no_end() -> None:
    for text, family in (("255.0.0.0/8", Family.IPV4), ("ff00::/8", Family.IPV6)):
        bounds = Intervals.of_prefixes([text]).of(family)
        packed, _ = elements.pack_intervals(bounds)
        assert len(packed) == 12 + family.width


def test_many_intervals_spread_over_messages_whole() -> None:
    texts = [f"10.{n >> 8}.{n & 255}.0/25" for n in range(5000)]
    bounds = Intervals.of_prefixes(texts).of(Family.IPV4)
    changes = elements.add_intervals("t", "s", bounds)
    assert len(changes) == 4
    assert all(len(change.data) < 65536 + 64 for change in changes)
    assert sum((len(c.data) - 40) // 40 for c in changes) == 5000


def test_element_with_timeout_and_value() -> None:
    packed = Element(b"\1\2\3\4", 30.0, b"\5\6\7\x08").packed()
    assert packed.hex() == (
        "28000180" "0c000180" "08000100" "01020304"
        "0c000280" "08000100" "05060708"
        "0c000400" "0000000000007530"
    )  # fmt: skip


def test_elements_spread_over_messages() -> None:
    many = [Element(n.to_bytes(36, "big"), 180.0, bytes(4)) for n in range(2000)]
    changes = elements.add("t", "s", many)
    assert len(changes) == 3
    assert len(elements.delete("t", "s", many[:1])) == 1
    assert elements.add("t", "s", []) == []
