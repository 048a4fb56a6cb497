# SPDX-License-Identifier: GPL-2.0-or-later
"""NFLOG's netlink messages as bytes (linux/netfilter/nfnetlink_log.h).

Knows how a group is configured and how logged packets are laid out; does not know
sockets, link layers or what is in a packet. Netlink headers and attribute headers
are in this machine's byte order, the values NFLOG puts in them in the network's.
"""

from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple

NETLINK_NETFILTER = 12
_NFNL_SUBSYS_ULOG = 4
_MSG_PACKET = _NFNL_SUBSYS_ULOG << 8
_MSG_CONFIG = _MSG_PACKET | 1
_NLMSG_ERROR = 2
_NLM_F_REQUEST, _NLM_F_ACK = 1, 4

_CFG_CMD, _CFG_MODE, _CFG_NLBUFSIZ, _CFG_TIMEOUT, _CFG_QTHRESH, _CFG_FLAGS = range(1, 7)
_CMD_BIND = 1
_COPY_PACKET = 2
_F_SEQ = 1
_WHOLE_PACKET = 0xFFFF  # bytes; the kernel's own maximum

_PACKET_HDR = 1
_TIMESTAMP = 3
_IFINDEX_INDEV = 4
_IFINDEX_OUTDEV = 5
_PAYLOAD = 9
_PREFIX = 10
_SEQ = 12

_NLMSGHDR = Struct("=IHHII")  # length, type, flags, sequence, port id
_NFGENMSG = Struct(">BBH")  # family, version, resource id (the group)
_NLATTR = Struct("=HH")  # length, type
_ERROR = Struct("=i")  # negative errno
_HDR = Struct(">HB")  # EtherType, hook
_TIME = Struct(">QQ")  # seconds, microseconds
_U32 = Struct(">I")
_ALIGNMENT = 4
_HEADERS = _NLMSGHDR.size + _NFGENMSG.size


class Logged(NamedTuple):
    """One packet as NFLOG hands it over."""

    payload: bytes
    ether_type: int
    hook: int
    ifindex: int  # 0 if the kernel named no device
    timestamp: float | None  # seconds since the epoch, where the kernel has one
    sequence: int | None  # counts every packet of the group, modulo 2**32
    word: str = ""  # that the rule sends along


def _attribute(kind: int, value: bytes) -> bytes:
    size = _NLATTR.size + len(value)
    return _NLATTR.pack(size, kind) + value + bytes(-size % _ALIGNMENT)


def bind_request(
    group: int, *, threshold: int, timeout: int, batch_bytes: int, sequence: int
) -> bytes:
    """A request that binds `group` and configures it, in one message.

    threshold    packets the kernel collects before it hands them over
    timeout      hundredths of a second after which it hands over what it has
    batch_bytes  the size of such a collection
    sequence     of the netlink message: repeated by its acknowledgement
    """
    body = b"".join(
        (
            _NFGENMSG.pack(0, 0, group),
            _attribute(_CFG_CMD, bytes([_CMD_BIND])),
            _attribute(_CFG_MODE, Struct(">IBx").pack(_WHOLE_PACKET, _COPY_PACKET)),
            _attribute(_CFG_NLBUFSIZ, _U32.pack(batch_bytes)),
            _attribute(_CFG_TIMEOUT, _U32.pack(timeout)),
            _attribute(_CFG_QTHRESH, _U32.pack(threshold)),
            _attribute(_CFG_FLAGS, Struct(">H").pack(_F_SEQ)),
        )
    )
    flags = _NLM_F_REQUEST | _NLM_F_ACK
    size = _NLMSGHDR.size + len(body)
    return _NLMSGHDR.pack(size, _MSG_CONFIG, flags, sequence, 0) + body


def acknowledgement(datagram: memoryview, sequence: int) -> int | None:
    """The errno (0: done) that answers request `sequence`, None if none is here."""
    for kind, number, start, end in _messages(datagram):
        if kind == _NLMSG_ERROR and number == sequence and end - start >= _ERROR.size:
            (error,) = _ERROR.unpack_from(datagram, start)
            return -int(error)
    return None


def logged_packets(datagram: memoryview) -> Iterator[Logged]:
    """The packets in one datagram from the kernel; anything else is passed over."""
    for kind, _, start, end in _messages(datagram):
        if kind == _MSG_PACKET:
            packet = _logged(datagram, start + _NFGENMSG.size, end)
            if packet is not None:
                yield packet


def _messages(datagram: memoryview) -> Iterator[tuple[int, int, int, int]]:
    """Type, sequence, start and end of the body of each message."""
    at = 0
    while at + _NLMSGHDR.size <= len(datagram):
        size, kind, _, sequence, _ = _NLMSGHDR.unpack_from(datagram, at)
        if size < _NLMSGHDR.size or at + size > len(datagram):
            return
        yield kind, sequence, at + _NLMSGHDR.size, at + size
        at += size + -size % _ALIGNMENT


def _logged(datagram: memoryview, at: int, end: int) -> Logged | None:
    payload = b""
    ether_type, hook, ifindex = 0, -1, 0
    timestamp: float | None = None
    sequence: int | None = None
    word = ""
    while at + _NLATTR.size <= end:
        size, kind = _NLATTR.unpack_from(datagram, at)
        value, after = at + _NLATTR.size, at + size
        if size < _NLATTR.size or after > end:
            return None
        if kind == _PAYLOAD:
            payload = bytes(datagram[value:after])
        elif kind == _PREFIX:
            word = bytes(datagram[value:after]).rstrip(b"\0").decode(errors="replace")
        elif kind == _PACKET_HDR and size >= _NLATTR.size + _HDR.size:
            ether_type, hook = _HDR.unpack_from(datagram, value)
        elif kind in (_IFINDEX_INDEV, _IFINDEX_OUTDEV, _SEQ):
            if size != _NLATTR.size + _U32.size:
                return None
            (number,) = _U32.unpack_from(datagram, value)
            if kind == _SEQ:
                sequence = number
            else:
                ifindex = number
        elif kind == _TIMESTAMP and size == _NLATTR.size + _TIME.size:
            seconds, microseconds = _TIME.unpack_from(datagram, value)
            timestamp = seconds + microseconds / 1e6
        at = after + -size % _ALIGNMENT
    return Logged(payload, ether_type, hook, ifindex, timestamp, sequence, word)
