# SPDX-License-Identifier: GPL-2.0-or-later
"""JSON (RFC 8259) in bytes, read a value at a time.

Knows how objects and lists are written; does not know what they are for. Decoded is
only a window that slides over the bytes, from about the place reached on: neither
the text nor its objects ever stand in memory as a whole.
"""

import codecs
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, NoReturn

_SPACE = re.compile(r"[ \t\n\r]*")
_WINDOW = 2**20  # bytes
_MAX_VALUE = 2**20  # characters of a registration, or of anything else but their list


class KeyTwice(dict[str, Any]):
    """An object in which a key stands more than once, each with its last value.

    `first` has what else they said, `key` names one of them.
    """

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.first = dict(reversed(pairs))
        counts = Counter(name for name, _ in pairs)
        self.key = next(name for name, count in counts.items() if count > 1)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    return found if len(found) == len(pairs) else KeyTwice(pairs)


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")  # Python's decoder would take it


class JsonText:
    """Walks through a JSON text from its first byte to its last.

    ValueError where it is none, RecursionError where it is too deep.
    """

    def __init__(self, content: Iterable[bytes]) -> None:
        """The text comes in pieces, and is read once."""
        self._pieces = iter(content)
        self._ahead = next(self._pieces, b"")  # of a piece, not in the window yet
        self._ended = False
        self._seen = 0
        if self._ahead.startswith(codecs.BOM_UTF8):
            self._seen = len(self._take(len(codecs.BOM_UTF8)))
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._text = ""
        self._at = 0
        self._lines = 0  # before the window
        self._decode = json.JSONDecoder(
            object_pairs_hook=_object, parse_constant=_no_number
        ).raw_decode

    def members(self) -> Iterator[str]:
        """The keys of the object here; the caller reads each value."""
        for _ in self._sequence("{", "}"):
            key = self.value()
            if not isinstance(key, str):
                self._fail("a key is not a text")
            self._expect(":")
            yield key

    def items(self) -> Iterator[Any]:
        """The values of the list here."""
        for _ in self._sequence("[", "]"):
            yield self.value()

    def at_list(self) -> bool:
        """Whether a list comes next."""
        return self._peek() == "["

    def value(self) -> Any:
        """The value here."""
        self._peek()
        while True:
            try:
                value, end = self._decode(self._text, self._at)
            except ValueError:
                if self._slide():
                    continue
                raise
            # A number that ends with the window may go on behind it.
            if end < len(self._text) or not self._slide():
                self._at = end
                return value

    def end(self) -> None:
        """ValueError unless the text ends here."""
        if self._peek():
            self._fail("something follows its end")

    def line(self, error: Exception) -> str:
        """The line of an error, for a message."""
        at = error.pos if isinstance(error, json.JSONDecodeError) else self._at
        return f"line {self._lines + self._text.count(chr(10), 0, at) + 1}"

    def byte(self, error: UnicodeDecodeError) -> str:
        """The place of bytes that are no text, for a message."""
        pending, _ = self._decoder.getstate()
        return f"byte {self._seen - len(pending) + error.start}"

    def _slide(self) -> bool:
        """Have more in the window, and nothing that was read; whether there is more.

        Where one value fills it, the window doubles: what is read again and again
        until it is whole costs twice its length.
        """
        rest = self._text[self._at :]
        if len(rest) > _MAX_VALUE:
            self._fail(f"a value is longer than {_MAX_VALUE} characters")
        more = self._take(max(_WINDOW, len(rest)))
        if not more:
            return False
        self._lines += self._text.count("\n", 0, self._at)
        text = self._decoder.decode(more, final=self._ended and not self._ahead)
        self._text, self._at = rest + text, 0
        self._seen += len(more)
        return True

    def _take(self, size: int) -> bytes:
        """The next bytes, `size` of them unless they end before."""
        while len(self._ahead) <= size and not self._ended:
            piece = next(self._pieces, None)
            self._ended = piece is None
            self._ahead += piece or b""
        taken, self._ahead = self._ahead[:size], self._ahead[size:]
        return taken

    def _sequence(self, opening: str, closing: str) -> Iterator[None]:
        self._expect(opening)
        if self._peek() != closing:
            yield
            while self._peek() == ",":
                self._at += 1
                yield
        self._expect(closing)

    def _peek(self) -> str:
        while True:
            space = _SPACE.match(self._text, self._at)
            self._at = space.end() if space else self._at
            if self._at < len(self._text) or not self._slide():
                return self._text[self._at : self._at + 1]

    def _expect(self, mark: str) -> None:
        if self._peek() != mark:
            self._fail(f"{mark!r} is missing")
        self._at += 1

    def _fail(self, what: str) -> NoReturn:
        raise json.JSONDecodeError(what, self._text, self._at)
