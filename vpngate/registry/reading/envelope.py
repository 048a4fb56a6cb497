# SPDX-License-Identifier: GPL-2.0-or-later
"""The registry as JSON: an envelope around the registrations.

Knows the envelope's keys and their types; does not know what a row's field may hold
(`row_checks.py`), or how JSON is read (`jsontext.py`). The list of registrations is
read an item at a time, so that a large one never stands in memory as objects.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from vpngate.errors import InvalidRegistry, Problem
from vpngate.prefixes.prefix import parse_prefix
from vpngate.registry.reading.jsontext import JsonText, KeyTwice
from vpngate.registry.reading.row_checks import RowChecks, RowFields, bare, shorten
from vpngate.timekeeping.moments import parse_moment

_MAX_KEYS = 64  # of the envelope, known or not
_MAX_NAME = 128  # characters
_MAX_SENTINELS = 1000
_MAX_SUSPEND = 256  # characters
# What JSON of every language and a metric's float hold exactly (RFC 8259, 6).
_MAX_SERIAL = 2**53 - 1


@dataclass(frozen=True, slots=True)
class Envelope:
    """What a registry says about itself; None where it says nothing.

    generated, expires  seconds since the epoch
    sentinels           prefixes that a whole registry holds
    suspend             why gateways are to observe; empty if they are not
    """

    name: str | None = None
    serial: int | None = None
    generated: float | None = None
    expires: float | None = None
    sentinels: tuple[str, ...] = ()
    suspend: str = ""


def place_of(item: int, field: str) -> str:
    """Where a field stands, for a message; items count from 0, as in jq."""
    where = f"registrations[{item}]"
    return f"{where}, {field}" if field else where


def read_envelope(content: Iterable[bytes], intake: RowChecks) -> Envelope:
    """Hands each registration of a JSON registry to the intake.

    Raises InvalidRegistry if it is not JSON from end to end, or if a key of the
    envelope is unknown, missing, there twice, or of the wrong type.
    """
    reader = JsonText(content)
    try:
        keys = _read(reader, intake)
    except UnicodeDecodeError as error:
        raise InvalidRegistry(
            [Problem(reader.byte(error), "is not UTF-8", "save it as UTF-8")]
        ) from None
    except (ValueError, RecursionError) as error:
        reason = getattr(error, "msg", "") or str(error)
        raise InvalidRegistry(
            [
                Problem(
                    reader.line(error), f"not JSON: {shorten(reason)}", "fetch it again"
                )
            ]
        ) from None
    return _envelope(keys)


def _read(reader: JsonText, intake: RowChecks) -> list[tuple[str, Any]]:
    keys: list[tuple[str, Any]] = []
    for key in reader.members():
        if len(keys) == _MAX_KEYS:
            raise ValueError(f"more than {_MAX_KEYS} keys beside each other")
        if key == _REGISTRATIONS and reader.at_list():
            for item, value in enumerate(reader.items()):
                _take(intake, item, value)
            keys.append((key, []))
        else:
            keys.append((key, reader.value()))
    reader.end()
    return keys


def _take(intake: RowChecks, item: int, value: Any) -> None:
    if not isinstance(value, dict):
        intake.refuse(item, {"": "is not an object"}, None)
    elif isinstance(value, KeyTwice):
        reasons = {_quoted(value.key): "is there more than once"}
        intake.refuse(item, reasons, _fields(value), _fields(value.first))
    elif (texts := _texts(value)) is not None:
        intake.take(item, texts)
    else:
        _refuse(intake, item, value)


def _texts(value: dict[str, Any]) -> list[str] | None:
    """What `RowFields` are made of, unless something in an item is not as it should be.

    In one go, as there may be millions; `_refuse` has the words.
    """
    if not value.keys() <= _ITEM.keys():
        return None
    contents = [value.get(name) for name in RowFields._fields]
    tunnels = contents[_TUNNELS]
    try:
        if isinstance(tunnels, list):
            contents[_TUNNELS] = "+".join(tunnels)
        elif tunnels is not None:
            return None
        return [
            "" if text is None else (text.strip() if text.isascii() else bare(text))
            for text in contents
        ]
    except (AttributeError, TypeError):
        return None


def _refuse(intake: RowChecks, item: int, value: dict[str, Any]) -> None:
    reasons = {
        key if key in _ITEM else _quoted(key): "is not known"
        if key not in _ITEM
        else f"is not {_ITEM[key].wanted}"
        for key, content in value.items()
        if key not in _ITEM or not (content is None or _ITEM[key].fits(content))
    }
    intake.refuse(item, reasons, _fields(value))


def _fields(value: dict[str, Any]) -> RowFields:
    """What of an item can be read, whatever is wrong with the rest."""
    texts = {}
    for name in RowFields._fields:
        content = value.get(name)
        if content is not None and _ITEM[name].fits(content):
            texts[name] = "+".join(content) if isinstance(content, list) else content
    return RowFields(**{name: bare(text) for name, text in texts.items()})


def _quoted(key: str) -> str:
    """A key that is not one of ours, fit for a message of one line."""
    return shorten(key if key.isprintable() else repr(key))


def _envelope(keys: list[tuple[str, Any]]) -> Envelope:
    names = [key for key, _ in keys]
    problems = [
        Problem(shorten(repr(key)), f"is there {names.count(key)} times")
        for key in sorted(set(names))
        if names.count(key) > 1
    ]
    if _REGISTRATIONS not in names:
        problems.append(Problem(_REGISTRATIONS, "is missing", "it holds the registry"))
    found: dict[str, Any] = {}
    for key, value in keys:
        kind = _ENVELOPE.get(key)
        if kind is None:
            known = ", ".join(_ENVELOPE)
            what = f"known: {known}"
            problems.append(Problem(shorten(repr(key)), "is not known", what))
        elif not kind.fits(value) and (value is not None or key == _REGISTRATIONS):
            problems.append(Problem(key, f"is not {kind.wanted}"))
        elif kind.attribute and value is not None:
            found[kind.attribute] = kind.read(value)
    if problems:
        raise InvalidRegistry(problems)
    return Envelope(**found)


@dataclass(frozen=True, slots=True)
class _Kind:
    """What a key may hold: in words, as a check, how it is read, and into what."""

    wanted: str
    fits: Callable[[Any], bool]
    read: Callable[[Any], Any] = lambda value: value
    attribute: str = ""  # of `Envelope`


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_name(value: Any) -> bool:
    return _is_text(value) and value.isprintable() and len(value) <= _MAX_NAME


def _is_reason(value: Any) -> bool:
    long = not _is_text(value) or len(value) > _MAX_SUSPEND
    return not long and value.isprintable() and bool(bare(value))


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _is_texts(value: Any) -> bool:
    return _is_list(value) and all(map(_is_text, value))


def _is_prefixes(value: Any) -> bool:
    return (
        _is_texts(value)
        and len(value) <= _MAX_SENTINELS
        and all(_parses(parse_prefix, text) for text in value)
    )


def _is_moment(value: Any) -> bool:
    return _is_text(value) and _parses(parse_moment, value)


def _is_serial(value: Any) -> bool:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return whole and 0 <= value <= _MAX_SERIAL


def _parses(parse: Callable[[str], object], text: str) -> bool:
    try:
        parse(text)
    except ValueError:
        return False
    return True


_REGISTRATIONS = "registrations"
_MOMENT = _Kind("a date like 2026-12-31T18:00:00Z", _is_moment, parse_moment)
_ENVELOPE = {
    "registry": _Kind(
        f"a text on one line, of {_MAX_NAME} characters at most",
        _is_name,
        attribute="name",
    ),
    "serial": _Kind(
        f"a whole number from 0 to {_MAX_SERIAL}", _is_serial, attribute="serial"
    ),
    "generated": replace(_MOMENT, attribute="generated"),
    "expires": replace(_MOMENT, attribute="expires"),
    "sentinels": _Kind(
        f"a list of prefixes, {_MAX_SENTINELS} at most",
        _is_prefixes,
        tuple,
        "sentinels",
    ),
    "suspend": _Kind(
        f"a reason on one line, of 1 to {_MAX_SUSPEND} characters; leave it out to"
        " suspend nothing",
        _is_reason,
        bare,
        "suspend",
    ),
    _REGISTRATIONS: _Kind("a list", _is_list),
}
ENVELOPE_KEYS = tuple(_ENVELOPE)
_ITEM = dict.fromkeys(RowFields._fields, _Kind("a text", _is_text)) | {
    "tunnels": _Kind("a list of texts", _is_texts)
}
_TUNNELS = RowFields._fields.index("tunnels")
