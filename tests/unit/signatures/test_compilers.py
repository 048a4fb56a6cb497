# SPDX-License-Identifier: GPL-2.0-or-later
"""What each compiler writes, in small; `test_agreement.py` says that it is right."""

import pytest

from tests.unit.signatures.plain_rules import rules_of
from tests.unit.tunnels import crafting
from vpngate.expressions import (
    Base,
    Bitwise,
    Compare,
    CompareOp,
    ExtensionHeader,
    Meta,
    MetaKey,
    Payload,
    Range,
)
from vpngate.packets import Transport
from vpngate.signatures import Field, Shape, Signature
from vpngate.signatures.libpcap import filter_for
from vpngate.signatures.nft_conditions import UNFRAGMENTED, entrance, header_conditions
from vpngate.signatures.predicate import matches

UDP = (Meta(MetaKey.L4PROTO), Compare(b"\x11"))
INITIATION = Signature(
    "example", Transport.UDP, (Shape((Field(0, b"\1\0\0\0"),), ((148, 148),)),)
)


def test_an_entrance_is_the_transport() -> None:
    assert entrance(Transport.UDP) == UDP


def test_what_is_whole() -> None:
    assert (
        (
            *(Meta(MetaKey.PROTOCOL), Compare(b"\x08\x00")),
            Payload(Base.NETWORK, 6, 2),
            Bitwise(b"\x3f\xff", b"\0\0"),
            Compare(b"\0\0"),
        ),
        (
            *(Meta(MetaKey.PROTOCOL), Compare(b"\x86\xdd")),
            *(ExtensionHeader(44), Compare(b"\0")),
        ),
    ) == UNFRAGMENTED


def test_rules_of_udp() -> None:
    comparisons = (
        Payload(Base.TRANSPORT, 4, 2),
        Compare((156).to_bytes(2)),
        Payload(Base.TRANSPORT, 8, 4),
        Compare(b"\1\0\0\0"),
    )
    ipv4, ipv6 = UNFRAGMENTED
    assert rules_of(INITIATION) == (
        (*UDP, *ipv4, *comparisons),
        (*UDP, *ipv6, *comparisons),
    )


def test_a_rule_for_each_way_to_match() -> None:
    shape = Shape(
        (Field(2, b"\x40", b"\xf0", differs=True),), ((10, 12), (20, 21), (30, 40))
    )
    signature = Signature(
        *("example", Transport.UDP, (shape, shape), frozenset({500, 501, 4500})),
        fragments=True,
    )
    rules = rules_of(signature)
    assert len(rules) == 2 * 3 * 2 * 2  # shapes, lengths, port ranges, ends
    assert rules[0] == (
        *UDP,
        Payload(Base.TRANSPORT, 0, 2),
        Range((500).to_bytes(2), (501).to_bytes(2)),
        Payload(Base.TRANSPORT, 4, 2),
        Range((18).to_bytes(2), (20).to_bytes(2)),
        Payload(Base.TRANSPORT, 10, 1),
        Bitwise(b"\xf0", b"\0"),
        Compare(b"\x40", CompareOp.NEQ),
    )


def test_tcp_headers_have_20_to_60_bytes_the_usual_ones_first() -> None:
    conditions = {
        start: condition for condition, start in header_conditions(Transport.TCP)
    }
    assert list(conditions) == [20, 32, 24, 28, 36, 40, 44, 48, 52, 56, 60]
    for start, condition in conditions.items():
        assert condition == (
            Payload(Base.TRANSPORT, 12, 4),
            Bitwise(b"\xf0\0\0\0", bytes(4)),
            Compare(bytes((start * 4, 0, 0, 0))),
        )


def test_a_payload_is_compared_behind_each_tcp_header() -> None:
    signature = Signature("example", Transport.TCP, (Shape((Field(3, b"\7"),)),))
    loads = {rule[-2] for rule in rules_of(signature)}
    assert loads == {Payload(Base.TRANSPORT, at + 3, 1) for at in range(20, 61, 4)}


def test_rules_of_transports_without_ports() -> None:
    signature = Signature("example", Transport.ESP, (Shape((Field(0, b"\1"),)),))
    for rule in rules_of(signature):
        assert rule[:2] == (Meta(MetaKey.L4PROTO), Compare(b"\x32"))
        assert rule[-2:] == (Payload(Base.TRANSPORT, 0, 1), Compare(b"\1"))


def test_where_fragments_count_a_first_one_passes() -> None:
    shape = Shape((Field(1, b"\2"),), ((28, 1000),))
    signature = Signature("long", Transport.UDP, (shape,), fragments=True)
    assert filter_for([signature]) == (
        "(ip and ip[0] & 0xf0 = 0x40 and ip[0] & 0xf >= 5 and ip[6:2] & 0x1fff = 0 "
        "and ip[2:2] >= ((ip[0] & 0xf) << 2) and ip[9] = 17 "
        "and (udp[4:2] >= 36 and udp[4:2] <= 1008) and udp[9] = 0x2) "
        "or (ip6 and ip6[0] & 0xf0 = 0x60 and "
        "((ip6[6] = 17 and (ip6[44:2] >= 36 and ip6[44:2] <= 1008) and ip6[49] = 0x2) "
        "or (ip6[6] = 44 and ip6[42:2] & 0xfff8 = 0 and ip6[40] = 17 and "
        "(ip6[52:2] >= 36 and ip6[52:2] <= 1008) and ip6[57] = 0x2) "
        "or (ip6[6] = 44 and ip6[42:2] & 0xfff8 = 0 and "
        "(ip6[40] = 0 or ip6[40] = 43 or ip6[40] = 60 or ip6[40] = 44)) "
        "or ((ip6[6] = 0 or ip6[6] = 43 or ip6[6] = 60) and (ip6[40] = 0 or "
        "ip6[40] = 43 or ip6[40] = 60 or ip6[40] = 44 or ip6[40] = 17))))"
    )


def test_beside_it_other_signatures_ask_for_what_is_whole() -> None:
    signature = Signature(
        "long", Transport.UDP, (Shape((Field(60, b"\2"),)),), fragments=True
    )
    text = filter_for([signature, INITIATION])
    # The one that looks less far comes first.
    assert (
        "ip[6:2] & 0x1fff = 0 and ip[2:2] >= ((ip[0] & 0xf) << 2) and ip[9] = 17 and "
        "((ip[6:2] & 0x2000 = 0 and udp[4:2] = 156 and udp[8:4] = 0x1000000) "
        "or udp[68] = 0x2)"
    ) in text


def test_a_filter_finds_a_payload_behind_any_tcp_header() -> None:
    signature = Signature("example", Transport.TCP, (Shape((Field(3, b"\7"),)),))
    text = filter_for([signature])
    assert (
        "((tcp[12] & 0xf0) >> 2) >= 20 and tcp[((tcp[12] & 0xf0) >> 2) + 3] = 0x7"
    ) in text
    assert (
        "((ip6[52] & 0xf0) >> 2) >= 20 and ip6[((ip6[52] & 0xf0) >> 2) + 43] = 0x7"
    ) in text


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
