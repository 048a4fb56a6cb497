# SPDX-License-Identifier: GPL-2.0-or-later
"""JSON (RFC 8259) in bytes, read a value at a time.

Knows how objects and lists are written; does not know what they are for. Decoded is
only a window that slides over the bytes, from about the place reached on: neither
the text nor its objects ever stand in memory as a whole.
"""

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any, NoReturn

_SPACE = re.compile(r"[ \t\n\r]*")
_WINDOW = 2**20  # bytes


class JsonText:
    """Walks through a JSON text from its first byte to its last.

    ValueError where it is none, RecursionError where it is too deep.
    """

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._seen = len(codecs.BOM_UTF8) if content.startswith(codecs.BOM_UTF8) else 0
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._text = ""
        self._at = 0
        self._lines = 0  # before the window
        self._decode = json.JSONDecoder().raw_decode

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
        end = self._seen + max(_WINDOW, len(rest))
        more = self._content[self._seen : end]
        if not more:
            return False
        self._lines += self._text.count("\n", 0, self._at)
        text = self._decoder.decode(more, final=end >= len(self._content))
        self._text, self._at = rest + text, 0
        self._seen += len(more)
        return True

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
