# SPDX-License-Identifier: GPL-2.0-or-later
"""Texts for strangers: without an address, and without what a configuration names.

Knows which values of a configuration are words that vpngate itself has (they stay), and
that all others may be a secret or tell who somebody is; does not know what is told.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from vpngate.cli.printing.letters import Letters
from vpngate.config import own_words
from vpngate.plaintext import plain

# Our own limits.
_SHORTEST_PART = 4  # characters of a part that is looked for by itself
_LONG = 40  # characters: a message may have cut what is longer
# Folders that every machine has.
_EVERYWHERE = frozenset(
    {"/", "/etc", "/etc/vpngate", "/run", "/run/vpngate", "/var", "/var/lib", "/tmp"}  # noqa: S108 - named, not used
)
_MAC = re.compile(r"\b[0-9A-Fa-f]{2}(?:[:-][0-9A-Fa-f]{2}){5}\b")
# Dotted IPv4, whatever stands around it.
_QUAD = re.compile(r"(?<!\d)\d{1,3}(?:\.\d{1,3}){3}(?!\d)", re.ASCII)
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z", re.ASCII)
_QUANTITY = re.compile(r"\d+(\.\d+)?\s*[a-z%]*", re.ASCII)
# As parts of a status are called; interfaces are called otherwise, or counted.
_NAME = re.compile(r"[a-z]+(_[a-z]+)*", re.ASCII)
_PARTS = re.compile(r"[\s/@?&#=,;]+")


class Redaction:
    """What stands for each text that is left out; the longest are looked for first.

    An address has the same letter wherever it stands.
    """

    def __init__(self, instead: Mapping[str, str]) -> None:
        self._letters = Letters()
        self._instead: dict[str, str] = {}
        for text, name in instead.items():
            for form in (text, plain(text), json.dumps(text)[1:-1], repr(text)[1:-1]):
                self._instead.setdefault(form, name)
        longest_first = sorted(self._instead, key=len, reverse=True)
        choice = "|".join(map(re.escape, longest_first))
        self._whole = re.compile(rf"(?<!\w)(?:{choice})(?!\w)") if choice else None
        # Where a message has cut it, or it goes on: whatever follows belongs to it.
        begins = {f[:_LONG]: self._instead[f] for f in longest_first if len(f) > _LONG}
        self._begins = {
            re.compile(re.escape(begin) + r"\S*"): name
            for begin, name in begins.items()
        }

    def __call__(self, text: str) -> str:
        """The text, what is left out replaced by what stands for it."""
        if self._whole is not None:
            text = self._whole.sub(lambda found: self._instead[found[0]], text)
        for begin, name in self._begins.items():
            text = begin.sub(name, text)
        text = _QUAD.sub(self._lettered, _MAC.sub("<MAC>", text))
        return self._letters.without_addresses(text)

    def _lettered(self, found: re.Match[str]) -> str:
        """Also where hexadecimal letters stand before it, as in a name."""
        return self._letters.without_addresses(found[0])

    def everywhere(self, value: Any) -> Any:
        """The same of all texts in an answer, names of its parts among them."""
        match value:
            case str():
                return self(value)
            case Mapping():
                return self._everywhere_in(value)
            case list() | tuple():
                return [self.everywhere(each) for each in value]
            case _:
                return value

    def _everywhere_in(self, value: Mapping[Any, Any]) -> dict[str, Any]:
        """Nothing is lost where one text stands for several: they are numbered."""
        told: dict[str, Any] = {}
        for key, each in value.items():
            name = first = self(str(key))
            number = 1
            while name in told:
                number += 1
                name = f"{first} ({number})"
            told[name] = self.everywhere(each)
        return told


def instead_of(
    configuration: Mapping[str, Any], known: Iterable[str]
) -> dict[str, str]:
    """What stands for each text of a configuration (as TOML has it) that is a secret.

    `known` are words of vpngate's own, which stay. The name that stands instead is the
    key's. Of a path its folders are left out, too, and of a URL each of its parts.
    """
    stays = {*known, *own_words()}
    found: dict[str, str] = {}
    for key, text in _texts(configuration):
        if not text or text in stays or _QUANTITY.fullmatch(text):
            continue
        for part in (text, *_parts(text)):
            if part not in stays:
                found.setdefault(part, f"<{key}>")
    return found


def _texts(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Every text in a TOML document, and every name of a key, with the key's name."""
    match value:
        case str():
            yield key, value
        case Mapping():
            for name, each in value.items():
                yield "a key", name
                yield from _texts(each, f"{key}.{name}" if key else str(name))
        case list():
            for each in value:
                yield from _texts(each, key)


def of_own(value: Any, known: Iterable[str]) -> Any:
    """Of an answer what is surely no secret: numbers, moments and vpngate's own words.

    For where nobody can tell what the configuration in force names.
    """
    stays = {*known, *own_words()}

    def own(text: str) -> bool:
        return text in stays or bool(
            _QUANTITY.fullmatch(text) or _MOMENT.fullmatch(text)
        )

    match value:
        case str():
            return value if own(value) else "(a text)"
        case Mapping():
            kept = {k: v for k, v in value.items() if own(k) or _NAME.fullmatch(k)}
            return {k: of_own(v, known) for k, v in kept.items()}
        case list() | tuple():
            return [of_own(each, known) for each in value]
        case _:
            return value


def _parts(text: str) -> Iterator[str]:
    if text.startswith("/"):
        folder = text
        while (folder := folder.rpartition("/")[0]) and folder not in _EVERYWHERE:
            yield folder
    parts = _PARTS.split(text)
    if "://" in text or "@" in text:
        yield from (p for p in parts if len(p) >= _SHORTEST_PART and p != "https:")
        yield from _host(text)


def _host(url: str) -> Iterator[str]:
    """The host of a URL without its port, which a message of TLS has by itself."""
    with suppress(ValueError):
        host = urlsplit(url).netloc.rpartition("@")[2]
        if host := re.sub(r":\d*$", "", host, flags=re.ASCII):
            yield from {host, host.lower()}
