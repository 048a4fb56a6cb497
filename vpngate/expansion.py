# SPDX-License-Identifier: GPL-2.0-or-later
"""Gzip (RFC 1952) from an author who may be hostile, a bounded slice at a time.

Knows how a few kilobytes unfold to gigabytes (in one member, in a million empty
ones) and what that may cost; does not know what is inside, nor keeps any of it.
"""

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

MAGIC = b"\x1f\x8b"

_WINDOW = 16 + zlib.MAX_WBITS  # zlib's way to say: with a gzip header
# What follows a member is copied to begin the next one: at most a slice of it.
_SLICE = 16 * 1024  # bytes in
_PIECE = 256 * 1024  # bytes out
# A table of addresses packs ten or thirty to one; deflate's worst is a thousand.
_MAX_RATIO = 100
_RATIO_FROM = 2**20  # bytes out; before that any ratio goes
_MAX_MEMBERS = 16 * 1024  # what packs in blocks begins one every 64 KiB


@dataclass(frozen=True, slots=True)
class GzipBounds:
    """How much may come out of one gzip.

    content  bytes in all
    members  gzip members one after the other
    ratio    bytes out for a byte in, once there is a mebibyte of them
    """

    content: int
    members: int = _MAX_MEMBERS
    ratio: int = _MAX_RATIO


class NotExpanded(Exception):
    """A gzip that is not unpacked to its end; the text says why, in a few words."""


class TooLarge(NotExpanded):
    """It unfolds beyond its bounds."""


class Damaged(NotExpanded):
    """It is no gzip, or not all of it."""


def look_at_nothing() -> None:
    """What is looked at between two slices where nobody waits for an end."""


def expand(
    data: bytes, bounds: GzipBounds, look: Callable[[], None] = look_at_nothing
) -> Iterator[bytes]:
    """The content in pieces of up to 256 KiB; TooLarge or Damaged on the way.

    look  called between any two slices; what it raises ends the work
    """
    member: zlib._Decompress | None = None
    members = out = 0
    for at in range(0, len(data), _SLICE):
        rest = data[at : at + _SLICE]
        read = at + len(rest)
        while rest:
            look()
            if member is None:
                # Padding behind a member is common (RFC 1952 knows none).
                rest = rest.lstrip(b"\0") if members else rest
                if not rest:
                    break
                members += 1
                if members > bounds.members:
                    raise TooLarge(f"has more than {bounds.members} members")
                member = zlib.decompressobj(_WINDOW)
            piece, rest = _step(member, rest)
            out += len(piece)
            _check(out, read, bounds)
            if piece:
                yield piece
            if member.eof:
                rest, member = member.unused_data, None
    if member is not None or not members:
        raise Damaged("is a gzip that ends early")


def _step(member: "zlib._Decompress", rest: bytes) -> tuple[bytes, bytes]:
    """A piece of the content, and what of the slice is still to be read."""
    try:
        return member.decompress(rest, _PIECE), member.unconsumed_tail
    except zlib.error as error:
        raise Damaged(f"is not a sound gzip ({error})") from None


def _check(out: int, read: int, bounds: GzipBounds) -> None:
    if out > bounds.content:
        raise TooLarge(f"unpacks to more than {bounds.content} bytes")
    if out > max(_RATIO_FROM, bounds.ratio * read):
        raise TooLarge(f"unpacks to more than {bounds.ratio} times its size")
