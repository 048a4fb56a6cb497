# SPDX-License-Identifier: GPL-2.0-or-later
"""Netlink's own bytes: message headers, flags, attributes (netlink(7)).

Knows how messages and attributes are packed and found again; does not know sockets,
nor what any attribute means. Headers are in this machine's byte order. Whatever is
damaged ends a walk, and raises nothing.
"""

import struct
import sys
from collections.abc import Iterator

HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port

REQUEST, ACK, ECHO, DUMP = 0x1, 0x4, 0x8, 0x300  # NLM_F_*
REPLACE, EXCLUSIVE, CREATE, APPEND = 0x100, 0x200, 0x400, 0x800
NESTED = 0x8000  # NLA_F_NESTED

_ATTRIBUTE = struct.Struct("=HH")  # length, type
_TYPE = 0x3FFF  # without the flags for nesting and byte order


def message(kind: int, flags: int, body: bytes) -> bytes:
    """A whole message; whoever sends it gives it a sequence number."""
    length = HEADER.size + len(body)
    return HEADER.pack(length, kind, REQUEST | flags, 0, 0) + body


def each_message(
    datagram: bytes | memoryview,
) -> Iterator[tuple[int, int, int, memoryview]]:
    """Type, flags, sequence and body of each message; ends at a damaged one."""
    view = memoryview(datagram)
    unpack, size, end = HEADER.unpack_from, HEADER.size, len(view)
    offset = 0
    while offset + size <= end:
        length, kind, flags, sequence, _ = unpack(view, offset)
        if length < size or offset + length > end:
            return
        yield kind, flags, sequence, view[offset + size : offset + length]
        offset += (length + 3) & ~3


def attributes(data: bytes | memoryview, offset: int = 0) -> dict[int, memoryview]:
    """The attributes from `offset` on, by type; of repeated ones the last."""
    return picked(data, offset, _TYPE)


def picked(data: bytes | memoryview, offset: int, last: int) -> dict[int, memoryview]:
    """The attributes from `offset` on whose types are at most `last`, by type.

    For long messages of which only the attributes with low numbers are wanted.
    """
    view = memoryview(data)
    unpack, size, end = _ATTRIBUTE.unpack_from, _ATTRIBUTE.size, len(view)
    found = {}
    while offset + size <= end:
        length, kind = unpack(view, offset)
        if length < size or offset + length > end:
            break
        kind &= _TYPE
        if kind <= last:
            found[kind] = view[offset + size : offset + length]
        offset += (length + 3) & ~3
    return found


def each_attribute(
    data: bytes | memoryview, offset: int = 0
) -> Iterator[tuple[int, memoryview]]:
    """The attributes from `offset` on, in order; ends at the first damaged one."""
    view = memoryview(data)
    for kind, start, end in _spans(view, offset, len(view)):
        yield kind, view[start:end]


def located(
    data: bytes, start: int = 0, end: int | None = None
) -> dict[int, tuple[int, int]]:
    """Where the attributes between two offsets have their values, by type."""
    spans = _spans(memoryview(data), start, len(data) if end is None else end)
    return {kind: (first, behind) for kind, first, behind in spans}


def _spans(view: memoryview, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    while start + _ATTRIBUTE.size <= end:
        length, kind = _ATTRIBUTE.unpack_from(view, start)
        if length < _ATTRIBUTE.size or start + length > end:
            return
        yield kind & _TYPE, start + _ATTRIBUTE.size, start + length
        start += (length + 3) & ~3


def attribute(kind: int, data: bytes, *, nested: bool = False) -> bytes:
    """One attribute, padded."""
    length = _ATTRIBUTE.size + len(data)
    head = _ATTRIBUTE.pack(length, kind | (NESTED if nested else 0))
    return head + data + bytes(-length % 4)


def text(data: bytes | memoryview) -> str:
    """A string of the kernel's."""
    return bytes(data).rstrip(b"\0").decode(errors="replace")


def number(data: bytes | memoryview, *, signed: bool = False) -> int:
    """A number of nftables, in network order; 0 where there is none."""
    return int.from_bytes(data, "big", signed=signed)


def host_number(data: bytes | memoryview) -> int:
    """A number of rtnetlink, in this machine's order; 0 where there is none."""
    return int.from_bytes(data, sys.byteorder)
