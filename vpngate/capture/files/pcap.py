# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads the pcap format (draft-ietf-opsawg-pcap), as libpcap does.

Knows its versions, byte orders, time units and header sizes; does not know files,
compression or what a frame holds.
"""

from collections.abc import Callable, Iterator
from struct import Struct
from typing import NamedTuple

from vpngate.capture.files.record import CHUNK, MOST_FRAME, Damage, Read, Record, Wanted
from vpngate.link_layers import LinkType

# First bytes of a file: byte order, units a second, bytes of a record's header.
_MAGICS = {
    bytes.fromhex("d4c3b2a1"): ("<", 1e6, 16),
    bytes.fromhex("a1b2c3d4"): (">", 1e6, 16),
    bytes.fromhex("4d3cb2a1"): ("<", 1e9, 16),
    bytes.fromhex("a1b23c4d"): (">", 1e9, 16),
    bytes.fromhex("34cdb2a1"): ("<", 1e6, 24),  # Kuznetsov's patched libpcap
    bytes.fromhex("a1b2cd34"): (">", 1e6, 24),
}
_MAGIC_SIZE = 4
_PATCHED_HEADER = 24
_FILE_HEADER = 24
_VERSION = 2
# By the minor version, how many bytes of a frame follow, of the two lengths before it:
# they stood the other way round at first, and some wrote them so for a while.
_CAPTURED: dict[int, Callable[[int, int], int]] = {
    **dict.fromkeys((0, 1, 2), lambda _length, captured: captured),
    3: min,
    4: lambda captured, _length: captured,
}
_MOST_SNAP_LENGTH = 0x7FFFFFFF  # above it, as for 0, there is no limit
_LINK_TYPE_BITS = 0xFFFF  # above stand the length of a checksum, and reserved bits
_RESERVED_BITS = 0x03FF0000
_ADDED = 14  # bytes that the patched libpcap may have put before a frame's snap length


class _File(NamedTuple):
    """What a file header says."""

    link_type: int
    most: int  # bytes of a frame that count
    captured: Callable[[int, int], int]  # of a record's two lengths


def is_pcap(head: bytes) -> bool:
    """Whether a stream that begins so is a pcap file."""
    return head[:_MAGIC_SIZE] in _MAGICS


def records(head: bytes, read: Read, wanted: Wanted) -> Iterator[Record]:
    """The wanted records of a stream that begins with `head`, and goes on in `read`.

    Raises Damage where the stream breaks.
    """
    order, units, header_size = _MAGICS[head[:_MAGIC_SIZE]]
    data = head
    while len(data) < _FILE_HEADER and (more := read(CHUNK)):
        data += more
    link_type, most, captured = _described(order, header_size, data)
    is_wanted = wanted(link_type)
    if is_wanted is None:
        return
    header = Struct(f"{order}IIII").unpack_from
    at, end = _FILE_HEADER, len(data)
    while True:
        start = at + header_size
        if start <= end:
            seconds, fraction, *lengths = header(data, at)
            size = captured(*lengths)
            if size > MOST_FRAME:
                raise Damage(f"a record claims {size} bytes")
            after = start + size
            if after <= end:
                frame = data[start : min(after, start + most)]
                if is_wanted(frame):
                    yield Record(link_type, seconds + fraction / units, frame)
                at = after
                continue
        if not (more := read(CHUNK)):
            break
        data, at = data[at:] + more, 0
        end = len(data)
    if at < end:
        raise Damage("the last record is cut short")


def _described(order: str, header_size: int, data: bytes) -> _File:
    """What the file header at the start of some bytes says; Damage if it is none."""
    if len(data) < _FILE_HEADER:
        raise Damage("the file header is cut short")
    major, minor, snap_length, word = Struct(f"{order}4xHH8xII").unpack_from(data)
    if major != _VERSION or minor not in _CAPTURED:
        raise Damage(f"unsupported pcap savefile version {major}.{minor}")
    if word & _RESERVED_BITS:
        raise Damage(f"reserved bits of the link type are set: {word:#010x}")
    link_type = word & _LINK_TYPE_BITS
    most = snap_length if 0 < snap_length <= _MOST_SNAP_LENGTH else MOST_FRAME
    if header_size == _PATCHED_HEADER and link_type == LinkType.ETHERNET:
        most += _ADDED
    return _File(link_type, most, _CAPTURED[minor])
