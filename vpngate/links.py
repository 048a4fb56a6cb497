# SPDX-License-Identifier: GPL-2.0-or-later
"""From a captured frame to its IP header.

Knows the link layers that captures come in (link types as in
https://www.tcpdump.org/linktypes.html) and the tags between them and IP: VLAN
(IEEE 802.1Q, also stacked), PPPoE (RFC 2516), PPP (RFC 1661). Does not know IP. A
frame that holds no IP packet, or too few bytes to tell, is None.
"""

from collections.abc import Callable
from enum import IntEnum
from struct import Struct


class LinkType(IntEnum):
    """The link types understood; a number not here is one we cannot read."""

    NULL = 0
    ETHERNET = 1
    PPP = 9
    RAW_BSD = 12  # what libpcap calls RAW on most systems, seen in files all the same
    RAW_OPENBSD = 14
    PPP_HDLC = 50
    PPPOE = 51
    RAW = 101
    CISCO_HDLC = 104
    LOOP = 108
    LINUX_SLL = 113
    IPV4 = 228
    IPV6 = 229
    NFLOG = 239
    LINUX_SLL2 = 276


class EtherType(IntEnum):
    """The EtherTypes that lead to an IP packet."""

    IPV4 = 0x0800
    IPV6 = 0x86DD
    VLAN = 0x8100
    QINQ = 0x88A8
    QINQ_OLD = 0x9100
    PPPOE_SESSION = 0x8864


VLAN_TYPES = frozenset({EtherType.VLAN, EtherType.QINQ, EtherType.QINQ_OLD})
VLAN_TAG = 4  # bytes: tag, then the EtherType of what follows
PPPOE_HEADER = 6  # bytes, before the PPP protocol number
PPP_IPV4, PPP_IPV6 = 0x0021, 0x0057

# Where the EtherType stands, and where what it names begins. Cisco HDLC uses the
# EtherTypes of IP.
ETHER_TYPED: dict[int, tuple[int, int]] = {
    LinkType.ETHERNET: (12, 14),
    LinkType.LINUX_SLL: (14, 16),
    LinkType.LINUX_SLL2: (0, 20),
    LinkType.CISCO_HDLC: (2, 4),
}
BARE_IP = frozenset(
    {
        LinkType.RAW,
        LinkType.RAW_BSD,
        LinkType.RAW_OPENBSD,
        LinkType.IPV4,
        LinkType.IPV6,
    }
)
LOOPBACK_HEADER = 4
# AF_INET everywhere; AF_INET6 of Linux, NetBSD and OpenBSD, FreeBSD, Darwin. In the
# byte order of who wrote it, which a file need not share.
LOOPBACK_FAMILIES = frozenset(
    family.to_bytes(LOOPBACK_HEADER, order)
    for family in (2, 10, 24, 28, 30)
    for order in ("little", "big")
)

_MOST_TAGS = 4  # ours: two are usual, and a frame of tags alone must not cost much
_PPP_HDLC_ADDRESS = b"\xff\x03"  # RFC 1662 section 3.1; may be left out
_CISCO_HDLC_ADDRESSES = (0x0F, 0x8F)  # unicast, broadcast
_NFLOG_HEADER = 4  # family, version, resource id
_NFLOG_PAYLOAD = 9  # NFULA_PAYLOAD
_TLV = Struct("=HH")  # libpcap hands them in this machine's byte order


def network_layer(link_type: int, frame: bytes) -> bytes | None:
    """The bytes from the (outermost) IP header on, or None if there is none.

    `link_type` is the number a capture file states; see `LinkType`.
    """
    if typed := ETHER_TYPED.get(link_type):
        at, start = typed
        return behind_ether_type(frame, _number(frame, at), start)
    if link_type in BARE_IP:
        return frame or None
    read = _OTHERS.get(link_type)
    return read(frame) if read else None


def _number(frame: bytes, at: int) -> int:
    """Two bytes as a number; of a frame that ends before, one that means nothing."""
    return int.from_bytes(frame[at : at + 2])


def behind_ether_type(frame: bytes, kind: int, start: int) -> bytes | None:
    """The bytes from the IP header on, where EtherType `kind` begins at `start`."""
    for _ in range(_MOST_TAGS + 1):
        if kind in (EtherType.IPV4, EtherType.IPV6):
            return frame[start:] or None
        if kind not in VLAN_TYPES:
            break
        kind, start = _number(frame, start + 2), start + VLAN_TAG
    return _pppoe(frame[start:]) if kind == EtherType.PPPOE_SESSION else None


def _pppoe(session: bytes) -> bytes | None:
    """RFC 2516 section 4: version and type 1, code 0 for session data."""
    if session[:2] != b"\x11\x00":
        return None
    return _ppp(session[PPPOE_HEADER:])


def _ppp(frame: bytes) -> bytes | None:
    if frame[:2] == _PPP_HDLC_ADDRESS:
        frame = frame[2:]
    # An odd first byte is a compressed protocol field (RFC 1661 section 6.5).
    width = 1 if frame and frame[0] & 1 else 2
    if int.from_bytes(frame[:width]) in (PPP_IPV4, PPP_IPV6):
        return frame[width:] or None
    return None


def _ppp_hdlc(frame: bytes) -> bytes | None:
    if frame and frame[0] in _CISCO_HDLC_ADDRESSES:
        return network_layer(LinkType.CISCO_HDLC, frame)
    return _ppp(frame)


def _loopback(frame: bytes) -> bytes | None:
    if frame[:LOOPBACK_HEADER] in LOOPBACK_FAMILIES:
        return frame[LOOPBACK_HEADER:] or None
    return None


def _nflog(frame: bytes) -> bytes | None:
    at = _NFLOG_HEADER
    while at + _TLV.size <= len(frame):
        length, kind = _TLV.unpack_from(frame, at)
        if kind == _NFLOG_PAYLOAD:
            return frame[at + _TLV.size : at + length] or None
        if length < _TLV.size:
            break
        at += length + -length % 4
    return None


_OTHERS: dict[int, Callable[[bytes], bytes | None]] = {
    LinkType.NULL: _loopback,
    LinkType.LOOP: _loopback,
    LinkType.PPP: _ppp,
    LinkType.PPP_HDLC: _ppp_hdlc,
    LinkType.PPPOE: _pppoe,
    LinkType.NFLOG: _nflog,
}
