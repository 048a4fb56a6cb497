# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads the pcap format (draft-ietf-opsawg-pcap).

Knows its byte orders, time units and header sizes; does not know files, compression
or what a frame holds.
"""

from collections.abc import Iterator
from struct import Struct

from vpngate.capture.files.record import CHUNK, MOST_FRAME, Damage, Read, Record, Wanted

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
_FILE_HEADER = 24
_LINK_TYPE = 20
_LINK_TYPE_BITS = 0xFFFF  # above stand the length of a checksum, and reserved bits


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
    if len(data) < _FILE_HEADER:
        raise Damage("the file header is cut short")
    (word,) = Struct(f"{order}I").unpack_from(data, _LINK_TYPE)
    link_type = word & _LINK_TYPE_BITS
    is_wanted = wanted(link_type)
    header = Struct(f"{order}III").unpack_from
    at, end = _FILE_HEADER, len(data)
    while True:
        start = at + header_size
        if start <= end:
            seconds, fraction, size = header(data, at)
            if size > MOST_FRAME:
                raise Damage(f"a record claims {size} bytes")
            after = start + size
            if after <= end:
                frame = data[start:after]
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
