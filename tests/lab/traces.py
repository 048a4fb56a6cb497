# SPDX-License-Identifier: GPL-2.0-or-later
"""Looks for addresses in whatever somebody may see: in text, numbers and bytes.

Knows in how many ways an address may be spelled; does not know where it looks.
"""

import base64
import gzip
import json
import re
import urllib.parse
import zlib
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

from vpngate.plaintext import plain

# A wrong find costs a test: fewer characters than these are no evidence.
_ENOUGH = 6
_GZIP = b"\x1f\x8b"
_MOST = 64 << 20  # bytes of an expanded sink


class Form(NamedTuple):
    """One spelling.

    folded  letters are as good large as small: `spelled` has them small
    behind, before  what may stand neither before nor behind it
    """

    spelled: bytes
    folded: bool = False
    before: bytes = b""
    behind: bytes = b""

    def is_in(self, content: bytes, folded: bytes) -> bool:
        """Whether it is in a content, which is also given with small letters."""
        where = folded if self.folded else content
        if self.spelled not in where:  # many times faster than an expression
            return False
        pattern = self.before + re.escape(self.spelled) + self.behind
        return re.search(pattern, where) is not None


def forms(address: str) -> dict[str, Form]:
    """Every spelling of an address, by what it is."""
    parsed = ip_address(address)
    raw, texts = parsed.packed, set(_texts(parsed))
    found = {f"text {text}": _alone(text) for text in texts}
    found["name in DNS"] = Form(parsed.reverse_pointer.encode(), folded=True)
    for name, text in _quoted(texts):
        found[name] = Form(text.lower().encode(), folded=True)
    for order, octets in _orders(raw):
        found[f"raw, {order}"] = Form(octets)
        found[f"number, {order}"] = _alone(str(int.from_bytes(octets)))
        for separator in ("", ":", " ", "-", r"\x", ", 0x"):
            spelled = octets.hex("|").replace("|", separator)
            found[f"hex, {order}, {separator!r}"] = Form(spelled.encode(), folded=True)
        found[f"repr, {order}"] = Form(repr(octets)[2:-1].encode())
        characters = octets.decode("latin-1")
        # A line of the log loses the blanks at its ends: 0x20 begins many an address.
        for text in (characters, plain(characters), plain(characters.strip())):
            found[f"characters, {order}, {text}"] = Form(text.encode())
            for ascii_alone in (True, False):
                spelled = json.dumps(text, ensure_ascii=ascii_alone)[1:-1]
                found[f"JSON, {order}, {spelled}"] = Form(spelled.encode())
        for comma in (",", ", "):
            found[f"list, {order}, {comma!r}"] = _alone(comma.join(map(str, octets)))
    for number, form in enumerate(_base64(raw, texts)):
        found[f"base64, {number}"] = form
    return found


class Traces:
    """Finds any of some addresses in bytes, gzipped or not."""

    def __init__(self, *addresses: str) -> None:
        self._forms = {
            f"{address}: {name}": form
            for address in addresses
            for name, form in forms(address).items()
        }

    def found(self, sink: bytes | str) -> list[str]:
        """Which addresses are in it, and how they are spelled."""
        if isinstance(sink, str):
            sink = sink.encode("utf-8", "surrogateescape")
        layers = [(each, each.lower()) for each in _layers(sink)]
        return [
            name
            for name, form in self._forms.items()
            if any(form.is_in(*layer) for layer in layers)
        ]


def _layers(content: bytes) -> Iterator[bytes]:
    yield content
    if content.startswith(_GZIP):
        try:
            expanded = gzip.decompress(content)
        except (OSError, EOFError, zlib.error):
            return
        yield from _layers(expanded[:_MOST])


def _texts(address: IPv4Address | IPv6Address) -> Iterator[str]:
    yield str(address)
    yield address.exploded
    if isinstance(address, IPv6Address):
        yield ":".join(f"{int(group, 16):x}" for group in address.exploded.split(":"))
        high = address.exploded.rpartition(":")[0].rpartition(":")[0]
        yield f"{high}:{IPv4Address(address.packed[-4:])}"
        return
    yield f"::ffff:{address.packed[:2].hex()}:{address.packed[2:].hex()}"


def _quoted(texts: set[str]) -> Iterator[tuple[str, str]]:
    """The same as it stands in a URL or a page."""
    for text in texts:
        if ":" in text:
            yield f"URL, {text}", urllib.parse.quote(text, safe="")
        yield f"page, {text}", text.replace(".", "&#46;").replace(":", "&#58;")


def _orders(raw: bytes) -> Iterator[tuple[str, bytes]]:
    """Network byte order; the whole turned; and in words of 4 and 8 bytes."""
    yield "as on the wire", raw
    yield "turned", raw[::-1]
    for width in (4, 8):
        if len(raw) > width:
            words = (raw[at : at + width] for at in range(0, len(raw), width))
            yield f"words of {width}", b"".join(word[::-1] for word in words)


def _base64(raw: bytes, texts: set[str]) -> Iterator[Form]:
    """What of it is the same whatever stands before and behind."""
    for content in (raw, *(text.encode() for text in texts)):
        for before in range(3):
            whole = base64.b64encode(bytes(before) + content)
            first = (8 * before + 5) // 6
            last = 8 * (before + len(content)) // 6
            same = whole[first:last]
            if len(same) >= _ENOUGH:
                yield Form(same)
                yield Form(same.translate(bytes.maketrans(b"+/", b"-_")))
        if len(content) == IPv4Address(0).max_prefixlen // 8:  # too short but alone
            alone = base64.b64encode(content).rstrip(b"=")
            yield Form(alone, False, b"(?<![A-Za-z0-9+/])", b"(?![A-Za-z0-9+/])")


def _alone(text: str) -> Form:
    """Where it is no part of a longer number or address."""
    return Form(text.lower().encode(), True, rb"(?<!\d)(?<!\d\.)", rb"(?!\d|\.\d)")
