# SPDX-License-Identifier: GPL-2.0-or-later
"""Gzip, unpacked up to a limit (RFC 1952).

Knows that a few kilobytes can unfold to gigabytes, and that a file may hold several
members; does not know what is inside. Raises FeedFault.
"""

import zlib
from collections.abc import Iterator

from vpngate.feed.faults import Reason, fault

MAGIC = b"\x1f\x8b"

_WINDOW = 16 + zlib.MAX_WBITS  # zlib's way to say: with a gzip header
_PIECE = 1 << 20


def gunzip(data: bytes, max_bytes: int, where: str) -> bytes:
    """The content; FeedFault if it is damaged, cut short or above `max_bytes`."""
    content = bytearray()
    for piece in _pieces(data, where):
        content += piece
        if len(content) > max_bytes:
            raise _too_large(max_bytes, where)
    return bytes(content)


def check_expansion(data: bytes, max_bytes: int, where: str) -> None:
    """FeedFault if `data` is a gzip that `gunzip` would refuse; keeps nothing."""
    if not data.startswith(MAGIC):
        return
    size = 0
    for piece in _pieces(data, where):
        size += len(piece)
        if size > max_bytes:
            raise _too_large(max_bytes, where)


def _too_large(max_bytes: int, where: str) -> Exception:
    what = f"unpacks to more than {max_bytes} bytes"
    return fault(Reason.TOO_LARGE, where, what, "see whether it is a registry")


def _pieces(data: bytes, where: str) -> Iterator[bytes]:
    rest = data
    while rest:
        member = zlib.decompressobj(_WINDOW)
        while not member.eof:
            try:
                piece = member.decompress(rest, _PIECE)
            except zlib.error as error:
                what = f"not a sound gzip ({error})"
                raise fault(Reason.TRUNCATED, where, what, "publish it anew") from error
            rest = member.unconsumed_tail
            if not piece and not rest and not member.eof:
                what = "a gzip that ends early"
                raise fault(Reason.TRUNCATED, where, what, "publish it anew")
            yield piece
        rest = member.unused_data.lstrip(b"\0")  # padding behind a member is common
