# SPDX-License-Identifier: GPL-2.0-or-later
"""The content of a registry in pieces, gzip or not, never more than was asked for.

Knows that nothing of it needs to stand in memory as a whole; does not know what it
holds.
"""

import hashlib
from collections.abc import Callable, Iterator

from vpngate.errors import InvalidRegistry, Problem
from vpngate.expansion import MAGIC, Damaged, GzipBounds, NotExpanded, expand

_PIECE = 256 * 1024  # bytes


class Content:
    """The bytes of a registry, unpacked while they are read, once.

    After the last piece `digest` is the SHA-256 of all of them, hexadecimal.
    """

    def __init__(self, data: bytes, limit: int, look: Callable[[], None]) -> None:
        """`limit` in bytes, unpacked; `look` is called between any two pieces."""
        self._pieces = self._unpacked(data, limit, look)
        self._hash = hashlib.sha256()
        self.head = next(self._pieces, b"")

    @property
    def digest(self) -> str:
        """Of what has been read."""
        return self._hash.hexdigest()

    def __iter__(self) -> Iterator[bytes]:
        """Every piece; InvalidRegistry if it is too long, damaged or cut short."""
        piece: bytes | None = self.head
        while piece is not None:
            self._hash.update(piece)
            yield piece
            piece = next(self._pieces, None)

    @staticmethod
    def _unpacked(data: bytes, limit: int, look: Callable[[], None]) -> Iterator[bytes]:
        if not data.startswith(MAGIC):
            if len(data) > limit:
                raise _bad(f"has more than {limit} bytes")
            for at in range(0, len(data), _PIECE):
                look()
                yield data[at : at + _PIECE]
            return
        try:
            yield from expand(data, GzipBounds(limit), look)
        except NotExpanded as error:
            remedy = "fetch it again" if isinstance(error, Damaged) else ""
            raise _bad(str(error), remedy) from None


def _bad(what: str, remedy: str = "see whether it is a registry") -> InvalidRegistry:
    return InvalidRegistry([Problem("registry", what, remedy)])
