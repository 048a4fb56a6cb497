# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads the pcapng format (draft-ietf-opsawg-pcapng).

Knows blocks, sections of either byte order, and interfaces of different link types
and time units in one file; does not know files, compression or what a frame holds.
"""

from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple

from vpngate.capture.files.record import CHUNK, Damage, Read, Record, Test, Wanted

_MAGIC = bytes.fromhex("0a0d0d0a")  # a section header's type, in any byte order
_MAGIC_SIZE = 4
_BYTE_ORDER_MAGIC = 0x1A2B3C4D
_BLOCK_HEADER = 8  # type, total length
_LEAST_BLOCK = 12  # with the repeated length at its end
_MOST_BLOCK = 16 << 20  # bytes; our own limit, and libpcap's

# Block types, and the bytes of their fixed parts.
_SECTION = 0x0A0D0D0A
_INTERFACE, _INTERFACE_FIXED = 1, 8
_OLD_PACKET, _ENHANCED_PACKET, _PACKET_FIXED = 2, 6, 20
_SIMPLE_PACKET, _SIMPLE_FIXED = 3, 4

_TIME_RESOLUTION = 9  # if_tsresol
_TIME_OFFSET, _TIME_OFFSET_SIZE = 14, 8  # if_tsoffset


def is_pcapng(head: bytes) -> bool:
    """Whether a stream that begins so is a pcapng file."""
    return head[:_MAGIC_SIZE] == _MAGIC


def records(head: bytes, read: Read, wanted: Wanted) -> Iterator[Record]:
    """The wanted records of a stream that begins with `head`, and goes on in `read`.

    Raises Damage where the stream breaks.
    """
    return _Section(wanted).records(_blocks(head, read))


def _blocks(data: bytes, read: Read) -> Iterator[tuple[str, int, bytes]]:
    """Byte order, type and body of each block."""
    order = "<"
    header = Struct("<II").unpack_from
    at = 0
    while True:
        # A section header's byte order stands behind its length.
        while at + _LEAST_BLOCK > len(data) and (more := read(CHUNK)):
            data, at = data[at:] + more, 0
        if at + _LEAST_BLOCK > len(data):
            break
        if data[at : at + _MAGIC_SIZE] == _MAGIC:
            order = _byte_order(data[at + _BLOCK_HEADER : at + _LEAST_BLOCK])
            header = Struct(f"{order}II").unpack_from
        kind, size = header(data, at)
        if not _LEAST_BLOCK <= size <= _MOST_BLOCK:
            raise Damage(f"a block claims {size} bytes")
        size += -size % 4
        while at + size > len(data) and (more := read(CHUNK)):
            data, at = data[at:] + more, 0
        if at + size > len(data):
            break
        yield order, kind, data[at + _BLOCK_HEADER : at + size - 4]
        at += size
    if at < len(data):
        raise Damage("the last block is cut short")


def _byte_order(magic: bytes) -> str:
    for order in "<>":
        if Struct(f"{order}I").pack(_BYTE_ORDER_MAGIC) == magic:
            return order
    raise Damage("a section header without a byte order")


class _Interface(NamedTuple):
    link_type: int
    snap_length: int
    units: float  # a second
    offset: int  # seconds
    is_wanted: Test | None


class _Section:
    """A pcapng section: its interfaces, and the packets captured on them."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._interfaces: list[_Interface] = []

    def records(self, blocks: Iterator[tuple[str, int, bytes]]) -> Iterator[Record]:
        """The wanted records of a stream of blocks."""
        layouts = {
            _ENHANCED_PACKET: {o: Struct(f"{o}IIII").unpack_from for o in "<>"},
            _OLD_PACKET: {o: Struct(f"{o}HxxIII").unpack_from for o in "<>"},
        }
        for order, kind, body in blocks:
            if kind in layouts:
                if len(body) < _PACKET_FIXED:
                    raise Damage("a packet block is too short")
                number, high, low, size = layouts[kind][order](body)
                start, ticks = _PACKET_FIXED, high << 32 | low
            elif kind == _SIMPLE_PACKET:
                number, start, ticks = 0, _SIMPLE_FIXED, 0
                size = self._simple_size(order, body)
            else:
                self._describe(order, kind, body)
                continue
            if number >= len(self._interfaces):
                raise Damage(f"a packet of interface {number}, which is not described")
            if start + size > len(body):
                raise Damage("a packet is longer than its block")
            interface = self._interfaces[number]
            frame = body[start : start + size]
            if interface.is_wanted is not None and interface.is_wanted(frame):
                timestamp = ticks / interface.units + interface.offset if ticks else 0.0
                yield Record(interface.link_type, timestamp, frame)

    def _simple_size(self, order: str, body: bytes) -> int:
        """A simple packet states its length on the wire; the snap length cuts it."""
        if len(body) < _SIMPLE_FIXED or not self._interfaces:
            raise Damage("a simple packet block without its length or interface")
        (size,) = Struct(f"{order}I").unpack_from(body)
        return int(min(size, self._interfaces[0].snap_length or size))

    def _describe(self, order: str, kind: int, body: bytes) -> None:
        """A block that is no packet: what it says of interfaces is kept."""
        if kind == _SECTION:
            self._interfaces = []
        elif kind == _INTERFACE:
            if len(body) < _INTERFACE_FIXED:
                raise Damage("an interface description is too short")
            link_type, snap_length = Struct(f"{order}HxxI").unpack_from(body)
            units, offset = _time_options(order, body[_INTERFACE_FIXED:])
            is_wanted = self._wanted(link_type)
            self._interfaces.append(
                _Interface(link_type, snap_length, units, offset, is_wanted)
            )


def _time_options(order: str, options: bytes) -> tuple[float, int]:
    """Ticks a second, and the seconds to add; microseconds and 0 if unstated."""
    units, offset = 1e6, 0
    at = 0
    while at + 4 <= len(options):
        code, size = Struct(f"{order}HH").unpack_from(options, at)
        value = options[at + 4 : at + 4 + size]
        if code == _TIME_RESOLUTION and len(value) == 1:
            # The highest bit tells a power of two from a power of ten.
            base = 2.0 if value[0] & 0x80 else 10.0
            units = base ** (value[0] & 0x7F)
        elif code == _TIME_OFFSET and len(value) == _TIME_OFFSET_SIZE:
            (offset,) = Struct(f"{order}q").unpack(value)
        at += 4 + size + -size % 4
    return units, offset
