# SPDX-License-Identifier: GPL-2.0-or-later
"""Prefixes as text, against the standard library's slower reading."""

from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpngate.packets import Family
from vpngate.prefixes.prefix import (
    Prefix,
    host_masks,
    pack_prefix,
    parse_ipv4,
    parse_ipv6,
    parse_prefix,
)

NEAR_IPV6 = st.text(alphabet="0123456789abcdefABCDEF:.:%_+ g", max_size=45)
NEAR_IPV4 = st.text(alphabet="0123456789. +", max_size=16)


def standard(kind: type[IPv4Address] | type[IPv6Address], text: str) -> bytes | None:
    try:
        return kind(text).packed
    except ValueError:
        return None


def ours(kind: type[IPv4Address] | type[IPv6Address], text: str) -> bytes | None:
    try:
        return parse_ipv4(text) if kind is IPv4Address else parse_ipv6(text)
    except ValueError:
        return None


@given(NEAR_IPV4)
def test_what_is_nearly_ipv4_is_read_as_the_standard_library_does(text: str) -> None:
    assert ours(IPv4Address, text) == standard(IPv4Address, text)


@given(NEAR_IPV6)
def test_what_is_nearly_ipv6_is_read_as_the_standard_library_does(text: str) -> None:
    if "%" in text:
        assert ours(IPv6Address, text) is None
    else:
        assert ours(IPv6Address, text) == standard(IPv6Address, text)


@given(st.ip_addresses(v=6), st.sampled_from(["exploded", "compressed"]))
def test_every_spelling_of_an_ipv6_address_is_read(
    address: IPv6Address, spelling: str
) -> None:
    text = getattr(address, spelling)
    assert parse_ipv6(text) == parse_ipv6(text.upper()) == address.packed


@pytest.mark.parametrize(
    "text",
    ["1:2:3:4:5:6:7:8::", "::1:2:3:4:5:6:7:8", ":::", "1:::2", "1::2::3", ":1", "1:",
     "12345::", "1:2:3", "::g", "::1 2", "1_0::", "+1::", ""],
)  # fmt: skip
def test_what_is_not_quite_ipv6_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_ipv6(text)


@given(st.ip_addresses(), st.data())
def test_a_prefix_is_written_as_it_is_read(
    address: IPv4Address | IPv6Address, data: st.DataObject
) -> None:
    length = data.draw(st.integers(0, address.max_prefixlen))
    network = ip_network((address, length), strict=False)
    mapped = address.version == 6 and network.network_address.packed[:12] == (
        bytes(10) + b"\xff\xff"
    )
    if mapped:  # RFC 4291, 2.5.5.2
        four = network.network_address.packed[12:]
        assert parse_prefix(str(network)) == Prefix(four, network.prefixlen - 96)
        return
    prefix = parse_prefix(str(network))
    assert prefix == Prefix(network.network_address.packed, length)
    assert str(prefix) == str(network)
    assert prefix.family == network.version
    assert prefix.packed == pack_prefix(str(network))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("203.0.113.1/24", "203.0.113.0/24 would be its network"),
        ("2001:db8::1/64", "2001:db8::/64 would be its network"),
        ("203.0.113.7", "write 203.0.113.7/32 for one"),
        ("2001:db8::7", "write 2001:db8::7/128 for one"),
        ("203.0.113.0/33", "'33' is not a length from 0 to 32"),
        ("2001:db8::/129", "'129' is not a length from 0 to 128"),
        ("203.0.113.0/", "'' is not a length"),
        ("203.0.113.0/024", "'024' is not a length"),
        ("203.0.113.0/255.255.255.0", "'255.255.255.0' is not a length"),
        ("203.0.113.0/-1", "'-1' is not a length"),
        ("203.0.113/24", "4 octets"),
        ("203.0.113.256/24", "256"),
        ("203.0.113.010/32", "[Ll]eading zeros"),
        ("::ffff:0:0/95", "::fffe:0:0/95 would be its network"),
        ("fe80::1%eth0/64", "names an interface"),
        ("example.org/24", "octets"),
        ("", "octets|empty"),
    ],
)
def test_a_bad_prefix_says_what_is_wrong(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_prefix(text)


def test_an_address_of_ipv6_may_end_in_dots() -> None:
    assert str(parse_prefix("64:ff9b::192.0.2.0/120")) == "64:ff9b::c000:200/120"


@pytest.mark.parametrize("family", Family)
def test_host_masks_are_all_ones_in_the_host_part(family: Family) -> None:
    masks = host_masks(family)
    bits = 8 * family.width
    assert [int.from_bytes(row.tobytes(), "big") for row in masks] == [
        2 ** (bits - length) - 1 for length in range(bits + 1)
    ]
