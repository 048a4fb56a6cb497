# SPDX-License-Identifier: GPL-2.0-or-later
"""What each compiler writes, in small; `test_agreement.py` says that it is right."""

import pytest

from tests.unit.tunnels import crafting
from vpngate.expressions import (
    Base,
    Bitwise,
    Compare,
    Comparison,
    ExtensionHeader,
    Meta,
    MetaKey,
    Payload,
    Range,
)
from vpngate.packets import Transport
from vpngate.signatures import Field, Shape, Signature
from vpngate.signatures.nft import entrances, rules_of
from vpngate.signatures.pcap import filter_for
from vpngate.signatures.predicate import matches

INITIATION = Signature(
    "example", Transport.UDP, (Shape((Field(0, b"\1\0\0\0"),), ((148, 148),)),)
)


def test_entrances() -> None:
    ipv4, ipv6 = entrances(Transport.UDP)
    assert ipv4 == (
        Meta(MetaKey.L4PROTO),
        Compare(b"\x11"),
        Meta(MetaKey.PROTOCOL),
        Compare(b"\x08\x00"),
        Payload(Base.NETWORK, 6, 2),
        Bitwise(b"\x3f\xff", b"\0\0"),
        Compare(b"\0\0"),
    )
    assert ipv6[-2:] == (ExtensionHeader(44), Compare(b"\0"))


def test_rules_of_udp() -> None:
    assert rules_of(INITIATION) == (
        (
            Payload(Base.TRANSPORT, 4, 2),
            Compare((156).to_bytes(2)),
            Payload(Base.TRANSPORT, 8, 4),
            Compare(b"\1\0\0\0"),
        ),
    )


def test_a_rule_for_each_way_to_match() -> None:
    shape = Shape(
        (Field(2, b"\x40", b"\xf0", differs=True),), ((10, 12), (20, 20), (30, 40))
    )
    signature = Signature(
        "example", Transport.UDP, (shape, shape), frozenset({500, 501, 4500})
    )
    rules = rules_of(signature)
    assert len(rules) == 2 * 3 * 2 * 2  # shapes, lengths, port ranges, ends
    assert rules[0] == (
        Payload(Base.TRANSPORT, 0, 2),
        Range((500).to_bytes(2), (501).to_bytes(2)),
        Payload(Base.TRANSPORT, 4, 2),
        Range((18).to_bytes(2), (20).to_bytes(2)),
        Payload(Base.TRANSPORT, 10, 1),
        Bitwise(b"\xf0", b"\0"),
        Compare(b"\x40", Comparison.NEQ),
    )


def test_rules_of_tcp_know_two_header_lengths() -> None:
    signature = Signature("example", Transport.TCP, (Shape((Field(3, b"\7"),)),))
    for rule, words, at in zip(
        rules_of(signature), (b"\x50", b"\x80"), (23, 35), strict=True
    ):
        assert rule == (
            Payload(Base.TRANSPORT, 12, 1),
            Bitwise(b"\xf0", b"\0"),
            Compare(words),
            Payload(Base.TRANSPORT, at, 1),
            Compare(b"\7"),
        )


def test_rules_of_transports_without_ports() -> None:
    signature = Signature("example", Transport.ESP, (Shape((Field(0, b"\1"),)),))
    assert rules_of(signature) == ((Payload(Base.TRANSPORT, 0, 1), Compare(b"\1")),)


def test_a_filter() -> None:
    assert filter_for([INITIATION]) == (
        "(ip and ip[0] & 0xf0 = 0x40 and ip[0] & 0xf >= 5 and ip[6:2] & 0x3fff = 0 "
        "and ip[2:2] >= ((ip[0] & 0xf) << 2) "
        "and ip[9] = 17 and udp[4:2] = 156 and udp[8:4] = 0x1000000) "
        "or (ip6 and ip6[0] & 0xf0 = 0x60 and "
        "((ip6[6] = 17 and ip6[44:2] = 156 and ip6[48:4] = 0x1000000) or "
        "((ip6[6] = 0 or ip6[6] = 43 or ip6[6] = 60) and "
        "(ip6[40] = 0 or ip6[40] = 43 or ip6[40] = 60 or ip6[40] = 17))))"
    )


def test_a_filter_that_knows_its_link_layer_checks_lengths() -> None:
    text = filter_for([INITIATION], link_header=14)
    assert "len - 14 >= ip[2:2]" in text
    assert "len - 54 >= ip6[4:2]" in text


def test_a_shape_without_ports_beside_one_with() -> None:
    with_ports = Signature("a", Transport.UDP, INITIATION.shapes, frozenset({500}))
    assert "udp[0:2] = 500 or udp[2:2] = 500" in filter_for([with_ports])
    assert "500" not in filter_for([with_ports, INITIATION])


def test_a_filter_for_nothing() -> None:
    with pytest.raises(ValueError, match="needs a signature"):
        filter_for([])


def test_a_predicate() -> None:
    packet = crafting.network(Transport.UDP, b"\1\0\0\0" + bytes(144), (1, 2))
    assert matches(INITIATION, packet)
    assert not matches(INITIATION, packet[:100])
    # A capture that kept 100 bytes of what was longer on the wire.
    assert matches(INITIATION, packet[:100], length=len(packet))


@pytest.mark.parametrize(
    "packet", [b"", b"\x00", b"\x45", b"\x60", b"\x50" + bytes(60)]
)
def test_what_is_no_packet_matches_nothing(packet: bytes) -> None:
    assert not matches(INITIATION, packet)
