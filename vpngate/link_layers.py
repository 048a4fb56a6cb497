# SPDX-License-Identifier: GPL-2.0-or-later
"""From a captured frame to its IP header.

Knows the link layers that captures come in (link types as in
https://www.tcpdump.org/linktypes.html) and the tags between them and IP: VLAN
(IEEE 802.1Q, one or two), PPPoE (RFC 2516), PPP (RFC 1661). Does not know IP. A
frame that holds no IP packet, or too few bytes to tell, is None.

Each link layer is a table of layouts, so that the same table can be read here and
be compiled into a packet filter.
"""

from collections.abc import Callable, Iterator
from enum import IntEnum
from functools import partial
from struct import Struct
from typing import NamedTuple


class LinkType(IntEnum):
    """The link types understood; a number not here is one we cannot read."""

    NULL = 0
    ETHERNET = 1
    PPP = 9
    RAW_DLT = 12  # what libpcap itself calls RAW; files hold it too
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


class Check(NamedTuple):
    """Bytes of a frame that have to be one of some values: `frame[at:at+size]`."""

    at: int
    size: int
    values: frozenset[bytes]


class Layout(NamedTuple):
    """Where the IP header of a frame starts if all checks hold."""

    checks: tuple[Check, ...]
    start: int


_IP = frozenset({b"\x08\x00", b"\x86\xdd"})  # EtherTypes of IPv4 and IPv6
_VLAN = frozenset(
    {b"\x81\x00", b"\x88\xa8", b"\x91\x00"}
)  # the last one is pre-standard
_PPPOE_SESSION = frozenset({b"\x88\x64"})
_VLAN_TAG = 4  # bytes: the tag itself, then the EtherType of what follows
_MOST_TAGS = 2  # IEEE 802.1ad: one of the provider, one of the customer

# RFC 2516 section 4: version 1, type 1, code 0; session; length; PPP protocol.
_PPPOE_DATA = frozenset({b"\x11\x00"})
_PPPOE_PROTOCOL = 6
_PPP_IP = frozenset({b"\x00\x21", b"\x00\x57"})
_PPP_IP_COMPRESSED = frozenset({b"\x21", b"\x57"})  # RFC 1661 section 6.5
_PPP_IN_HDLC = frozenset({b"\xff\x03"})  # RFC 1662 section 3.1; may be left out
_CISCO_UNICAST_BROADCAST = frozenset({b"\x0f\x00", b"\x8f\x00"})

# AF_INET everywhere; AF_INET6 of Linux, NetBSD and OpenBSD, FreeBSD, Darwin; in the
# byte order of whoever wrote it, which the rest of the file need not share.
_FAMILIES = frozenset(
    number.to_bytes(4, order)
    for number in (2, 10, 24, 28, 30)
    for order in ("little", "big")
)


def _pppoe(start: int) -> Layout:
    protocol = start + _PPPOE_PROTOCOL
    checks = (Check(start, 2, _PPPOE_DATA), Check(protocol, 2, _PPP_IP))
    return Layout(checks, protocol + 2)


def _ether_typed(at: int, start: int) -> Iterator[Layout]:
    """An EtherType at `at`, and what it names at `start`."""
    tags: tuple[Check, ...] = ()
    for _ in range(_MOST_TAGS + 1):
        yield Layout((*tags, Check(at, 2, _IP)), start)
        behind = _pppoe(start)
        session = Check(at, 2, _PPPOE_SESSION)
        yield Layout((*tags, session, *behind.checks), behind.start)
        tags = (*tags, Check(at, 2, _VLAN))
        at, start = start + 2, start + _VLAN_TAG


_BARE = (Layout((), 0),)
_LOOPBACK = (Layout((Check(0, 4, _FAMILIES),), 4),)
_PPP = (
    Layout((Check(0, 2, _PPP_IN_HDLC), Check(2, 2, _PPP_IP)), 4),
    Layout((Check(0, 2, _PPP_IN_HDLC), Check(2, 1, _PPP_IP_COMPRESSED)), 3),
    Layout((Check(0, 2, _PPP_IP),), 2),
    Layout((Check(0, 1, _PPP_IP_COMPRESSED),), 1),
)
_CISCO_HDLC = (Layout((Check(0, 2, _CISCO_UNICAST_BROADCAST), Check(2, 2, _IP)), 4),)

# At most one layout of a link type fits a frame, save where the first wins.
LAYOUTS: dict[int, tuple[Layout, ...]] = {
    LinkType.NULL: _LOOPBACK,
    LinkType.ETHERNET: tuple(_ether_typed(12, 14)),
    LinkType.PPP: _PPP,
    LinkType.RAW_DLT: _BARE,
    LinkType.RAW_OPENBSD: _BARE,
    LinkType.PPP_HDLC: _PPP + _CISCO_HDLC,
    LinkType.PPPOE: (_pppoe(0),),
    LinkType.RAW: _BARE,
    LinkType.CISCO_HDLC: _CISCO_HDLC,
    LinkType.LOOP: _LOOPBACK,
    LinkType.LINUX_SLL: tuple(_ether_typed(14, 16)),
    LinkType.IPV4: _BARE,
    LinkType.IPV6: _BARE,
    LinkType.LINUX_SLL2: tuple(_ether_typed(0, 20)),
}
_BEHIND_ETHER_TYPE = tuple(_ether_typed(0, 2))

_NFLOG_HEADER = 4  # family, version, resource id
_NFLOG_PAYLOAD = 9  # NFULA_PAYLOAD
# In the byte order of the machine that wrote them; libpcap turns them into this one's.
# Read in the other order, what they say of themselves leads nowhere.
_TLV = tuple(Struct(f"{order}HH") for order in ("=", ">", "<"))


def is_understood(link_type: int) -> bool:
    """Whether `network_layer` can read frames of a link type at all."""
    return link_type in LAYOUTS or link_type == LinkType.NFLOG


def network_layer(link_type: int, frame: bytes) -> bytes | None:
    """The bytes from the (outermost) IP header on, or None if there is none.

    `link_type` is the number a capture file states; see `LinkType`.
    """
    if link_type == LinkType.NFLOG:
        return _nflog_payload(frame)
    return _behind(LAYOUTS.get(link_type, ()), frame)


def network_reader(link_type: int) -> Callable[[bytes], bytes | None]:
    """`network_layer` for many frames of one link type."""
    if link_type == LinkType.NFLOG:
        return _nflog_payload
    layouts = LAYOUTS.get(link_type, ())
    everything = partial(_behind, layouts)
    usual, *_ = *layouts, Layout((), 0)
    if len(usual.checks) != 1:
        return everything
    ((at, size, values),) = usual.checks
    end, start = at + size, usual.start
    return lambda f: f[start:] if f[at:end] in values else everything(f)


def network_layer_of(ether_type: int, content: bytes) -> bytes | None:
    """The same for what stands behind a link header whose EtherType is known."""
    name = ether_type.to_bytes(2)
    return content if name in _IP else _behind(_BEHIND_ETHER_TYPE, name + content)


def _behind(layouts: tuple[Layout, ...], frame: bytes) -> bytes | None:
    for checks, start in layouts:
        for at, size, values in checks:
            if frame[at : at + size] not in values:
                break
        else:
            return frame[start:]
    return None


def _nflog_payload(frame: bytes) -> bytes | None:
    for header in _TLV:
        at = _NFLOG_HEADER
        while at + header.size <= len(frame):
            length, kind = header.unpack_from(frame, at)
            if kind == _NFLOG_PAYLOAD:
                return frame[at + header.size : at + length]
            if length < header.size:
                break
            at += length + -length % 4
    return None
