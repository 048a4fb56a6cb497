# SPDX-License-Identifier: GPL-2.0-or-later
"""Gzip (RFC 1952) in memory, never more than was asked for.

Knows compressed bytes; does not know what they hold.
"""

import zlib

from vpngate.errors import InvalidRegistry, Problem

_MAGIC = b"\x1f\x8b"
_GZIP_WINDOW = 16 + zlib.MAX_WBITS  # zlib: expect a gzip header


def is_compressed(data: bytes) -> bool:
    """Whether data begins as gzip does."""
    return data.startswith(_MAGIC)


def decompress(data: bytes, limit: int) -> bytes:
    """The content of one or several gzip members, at most `limit` bytes of it.

    Raises InvalidRegistry if it is longer, damaged or cut short.
    """
    members: list[bytes] = []
    left = limit
    while data:
        stream = zlib.decompressobj(_GZIP_WINDOW)
        try:
            # One byte more than allowed, to tell "too long" from "just fits".
            member = stream.decompress(data, left + 1)
        except zlib.error as error:
            raise _bad(f"is damaged gzip ({error})") from None
        if len(member) > left:
            raise _bad(f"has more than {limit} bytes, uncompressed")
        if not stream.eof:
            raise _bad("is gzip cut short")
        members.append(member)
        left -= len(member)
        data = stream.unused_data.lstrip(b"\0")  # padding after a member is common
    return b"".join(members)


def _bad(what: str) -> InvalidRegistry:
    return InvalidRegistry([Problem("registry", what, "fetch it again")])
