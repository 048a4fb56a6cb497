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

from vpngate.plaintext import plain

# A wrong find costs a test: fewer characters than these are no evidence.
_ENOUGH = 6
_GZIP = b"\x1f\x8b"
_MOST = 64 << 20  # bytes of an expanded sink


def forms(address: str) -> dict[str, bytes]:
    """Regular expressions, by what they find, for one address."""
    parsed = ip_address(address)
    raw, texts = parsed.packed, set(_texts(parsed))
    found = {f"text {text}": _alone(text) for text in texts}
    found["name in DNS"] = _literal(parsed.reverse_pointer)
    for name, text in _quoted(texts):
        found[name] = _literal(text)
    for order, octets in _orders(raw):
        found[f"raw, {order}"] = re.escape(octets)
        found[f"number, {order}"] = _alone(str(int.from_bytes(octets)))
        for separator in ("", ":", " ", "-", r"\x", ", 0x"):
            spelled = octets.hex("|").replace("|", separator)
            found[f"hex, {order}, {separator!r}"] = _literal(spelled)
        found[f"repr, {order}"] = _literal(repr(octets)[2:-1])
        characters = octets.decode("latin-1")
        # A line of the log loses the blanks at its ends: 0x20 begins many an address.
        for text in (characters, plain(characters), plain(characters.strip())):
            found[f"characters, {order}, {text}"] = _literal(text)
            for ascii_alone in (True, False):
                spelled = json.dumps(text, ensure_ascii=ascii_alone)[1:-1]
                found[f"JSON, {order}, {spelled}"] = _literal(spelled)
        listed = ", ?".join(map(str, octets))
        found[f"list, {order}"] = rf"(?<!\d){listed}(?!\d)".encode()
    for number, pattern in enumerate(_base64(raw, texts)):
        found[f"base64, {number}"] = pattern
    return found


class Traces:
    """Finds any of some addresses in bytes, gzipped or not."""

    def __init__(self, *addresses: str) -> None:
        self._patterns = {
            f"{address}: {name}": re.compile(pattern, re.IGNORECASE)
            if name.startswith(("text", "hex", "name"))
            else re.compile(pattern, re.DOTALL)
            for address in addresses
            for name, pattern in forms(address).items()
        }

    def found(self, sink: bytes | str) -> list[str]:
        """Which addresses are in it, and how they are spelled."""
        content = (
            sink.encode("utf-8", "surrogateescape") if isinstance(sink, str) else sink
        )
        return [
            name
            for name, pattern in self._patterns.items()
            if any(pattern.search(each) for each in _layers(content))
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


def _base64(raw: bytes, texts: set[str]) -> Iterator[bytes]:
    """What of it is the same whatever stands before and behind."""
    for content in (raw, *(text.encode() for text in texts)):
        for before in range(3):
            whole = base64.b64encode(bytes(before) + content)
            first = (8 * before + 5) // 6
            last = 8 * (before + len(content)) // 6
            same = whole[first:last]
            if len(same) >= _ENOUGH:
                yield re.escape(same)
                yield re.escape(same.translate(bytes.maketrans(b"+/", b"-_")))
        if len(content) == IPv4Address(0).max_prefixlen // 8:  # too short but alone
            alone = re.escape(base64.b64encode(content).rstrip(b"="))
            yield rb"(?<![A-Za-z0-9+/])" + alone + rb"(?![A-Za-z0-9+/])"


def _alone(text: str) -> bytes:
    """Where it is no part of a longer number or address."""
    return rb"(?<!\d)(?<!\d\.)" + _literal(text) + rb"(?!\d|\.\d)"


def _literal(text: str) -> bytes:
    return re.escape(text.encode())
