# SPDX-License-Identifier: GPL-2.0-or-later
"""Link layers by their specifications: where an IP header starts, and where none is."""

import struct

import pytest

from vpngate.link_layers import LinkType, is_understood, network_layer, network_layer_of

IPV4 = b"\x45" + bytes(19) + b"content"
IPV6 = b"\x60" + bytes(39) + b"content"
MACS = bytes(12)
VLAN, QINQ, QINQ_OLD = b"\x81\x00\x00\x05", b"\x88\xa8\x00\x06", b"\x91\x00\x00\x07"
IS_IPV4, IS_IPV6, IS_PPPOE, IS_ARP = b"\x08\0", b"\x86\xdd", b"\x88\x64", b"\x08\x06"
SESSION = b"\x11\x00\x00\x01\x00\x20"
SLL = bytes(14)
SLL2 = bytes(18)


def tlv(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


FRAMES = {
    "Ethernet": (LinkType.ETHERNET, MACS + IS_IPV4, IPV4),
    "Ethernet, IPv6": (LinkType.ETHERNET, MACS + IS_IPV6, IPV6),
    "VLAN": (LinkType.ETHERNET, MACS + VLAN + IS_IPV4, IPV4),
    "QinQ": (LinkType.ETHERNET, MACS + QINQ + VLAN + IS_IPV6, IPV6),
    "QinQ before the standard": (
        LinkType.ETHERNET,
        MACS + QINQ_OLD + VLAN + IS_IPV4,
        IPV4,
    ),
    "PPPoE": (LinkType.ETHERNET, MACS + IS_PPPOE + SESSION + b"\x00\x21", IPV4),
    "PPPoE, IPv6": (LinkType.ETHERNET, MACS + IS_PPPOE + SESSION + b"\x00\x57", IPV6),
    "PPPoE in VLAN": (
        LinkType.ETHERNET,
        MACS + VLAN + IS_PPPOE + SESSION + b"\x00\x21",
        IPV4,
    ),
    "PPPoE in QinQ": (
        LinkType.ETHERNET,
        MACS + QINQ + VLAN + IS_PPPOE + SESSION + b"\x00\x57",
        IPV6,
    ),
    "PPPoE alone": (LinkType.PPPOE, SESSION + b"\x00\x21", IPV4),
    "cooked": (LinkType.LINUX_SLL, SLL + IS_IPV4, IPV4),
    "cooked, VLAN": (LinkType.LINUX_SLL, SLL + VLAN + IS_IPV4, IPV4),
    "cooked 2": (LinkType.LINUX_SLL2, IS_IPV6 + SLL2, IPV6),
    "raw": (LinkType.RAW, b"", IPV4),
    "raw as libpcap numbers it": (LinkType.RAW_DLT, b"", IPV6),
    "raw as OpenBSD numbers it": (LinkType.RAW_OPENBSD, b"", IPV6),
    "IPv4": (LinkType.IPV4, b"", IPV4),
    "IPv6": (LinkType.IPV6, b"", IPV6),
    "null, little-endian": (LinkType.NULL, b"\x02\0\0\0", IPV4),
    "null, big-endian": (LinkType.NULL, b"\0\0\0\x02", IPV4),
    "null, Darwin's IPv6": (LinkType.NULL, b"\x1e\0\0\0", IPV6),
    "loop, OpenBSD's IPv6": (LinkType.LOOP, b"\0\0\0\x18", IPV6),
    "PPP": (LinkType.PPP, b"\xff\x03\x00\x21", IPV4),
    "PPP without address": (LinkType.PPP, b"\x00\x57", IPV6),
    "PPP, short protocol": (LinkType.PPP, b"\xff\x03\x21", IPV4),
    "PPP, short in all": (LinkType.PPP, b"\x57", IPV6),
    "PPP in HDLC": (LinkType.PPP_HDLC, b"\xff\x03\x00\x21", IPV4),
    "Cisco's HDLC, PPP's number": (LinkType.PPP_HDLC, b"\x0f\x00" + IS_IPV4, IPV4),
    "Cisco's HDLC": (LinkType.CISCO_HDLC, b"\x8f\x00" + IS_IPV6, IPV6),
}
OTHERS = {
    "ARP": (LinkType.ETHERNET, MACS + IS_ARP + IPV4),
    "ARP in VLAN": (LinkType.ETHERNET, MACS + VLAN + IS_ARP + IPV4),
    "three tags": (LinkType.ETHERNET, MACS + QINQ + VLAN + VLAN + IS_IPV4 + IPV4),
    "length, not type": (LinkType.ETHERNET, MACS + b"\x00\x40" + IPV4),
    "PPPoE discovery": (LinkType.ETHERNET, MACS + b"\x88\x63" + SESSION + IPV4),
    "PPPoE version 2": (
        LinkType.ETHERNET,
        MACS + IS_PPPOE + b"\x12" + SESSION[1:] + b"\x00\x21" + IPV4,
    ),
    "LCP in PPPoE": (LinkType.PPPOE, SESSION + b"\xc0\x21" + IPV4),
    "LCP": (LinkType.PPP, b"\xff\x03\xc0\x21" + IPV4),
    "AppleTalk on loopback": (LinkType.NULL, b"\x10\0\0\0" + IPV4),
    "ISIS in HDLC": (LinkType.CISCO_HDLC, b"\x0f\x00\xfe\xfe" + IPV4),
    "nothing": (LinkType.ETHERNET, b""),
    "no such link type": (9999, IPV4),
}


@pytest.mark.parametrize(
    ("link_type", "header", "network"), FRAMES.values(), ids=FRAMES
)
def test_the_ip_header_is_found(
    link_type: LinkType, header: bytes, network: bytes
) -> None:
    assert network_layer(link_type, header + network) == network
    assert is_understood(link_type)


@pytest.mark.parametrize(
    ("link_type", "header", "network"), FRAMES.values(), ids=FRAMES
)
def test_a_cut_off_link_header_is_none(
    link_type: LinkType, header: bytes, network: bytes
) -> None:
    for length in range(len(header)):
        found = network_layer(link_type, (header + network)[:length])
        assert not found, length


@pytest.mark.parametrize(("link_type", "frame"), OTHERS.values(), ids=OTHERS)
def test_what_is_no_ip_is_none(link_type: LinkType, frame: bytes) -> None:
    assert network_layer(link_type, frame) is None


def test_link_types_that_are_not_understood() -> None:
    radiotap = 127
    assert not is_understood(radiotap)
    assert all(map(is_understood, LinkType))


class TestNflog:
    HEADER = b"\x02\x00\x00\x05"

    def test_the_payload_is_found(self) -> None:
        before = tlv(1, b"\x08\0\0\0") + tlv(10, b"prefix\0")
        frame = self.HEADER + before + tlv(9, IPV4)
        assert network_layer(LinkType.NFLOG, frame) == IPV4

    @pytest.mark.parametrize(
        "rest",
        [b"", b"\x08", tlv(10, b"prefix\0"), struct.pack("=HH", 0, 1) + tlv(9, IPV4)],
    )
    def test_a_frame_without_payload_is_none(self, rest: bytes) -> None:
        assert network_layer(LinkType.NFLOG, self.HEADER + rest) is None


@pytest.mark.parametrize(
    ("ether_type", "before", "network"),
    [
        (0x0800, b"", IPV4),
        (0x86DD, b"", IPV6),
        (0x8100, VLAN[2:] + IS_IPV4, IPV4),
        (0x8864, SESSION + b"\x00\x57", IPV6),
    ],
)
def test_behind_a_known_ether_type(
    ether_type: int, before: bytes, network: bytes
) -> None:
    assert network_layer_of(ether_type, before + network) == network


def test_behind_another_ether_type_is_none() -> None:
    assert network_layer_of(0x0806, IPV4) is None
