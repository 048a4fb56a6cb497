# SPDX-License-Identifier: GPL-2.0-or-later
"""TOML text in; one frozen configuration out, or every problem in it at once.

Knows how the checks of the sections and the rules between them are run over one
text, and how a fault is put into words; does not know the keys themselves, and
reads no file.
"""

import difflib
import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, cast

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from vpngate.config.rules import RULES
from vpngate.config.sections import DEFAULT_TABLE, Config
from vpngate.config.values import TableValue
from vpngate.errors import InvalidConfig, Problem

# Beside its own error: numbers of thousands of digits, lists in lists.
_NOT_TOML = (ValueError, RecursionError)
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")  # TOML 1.0.0, "Keys"

# Faults that the library words for programmers; the others start with "Input ".
_WORDS = {
    "model_type": "should be a table",
    "tuple_type": "should be a list",
    "too_short": "should not be empty",
    "missing": "is missing",
}


@dataclass(frozen=True)
class Examined:
    """What a text is worth.

    config    what it states, faulty keys replaced by their defaults; None if not
              even that can be had
    problems  everything wrong with it, in the order of the sections
    faulty    the sections in which something is wrong by itself
    """

    config: Config | None
    problems: tuple[Problem, ...]
    faulty: frozenset[str] = frozenset()


def parse_config(text: str, *, where: str, known_tunnels: Collection[str]) -> Config:
    """The configuration that `text` states.

    `where` names the text in messages (its path); `known_tunnels` are the names
    that `[tunnels] enabled` may hold, all of them being its default. Raises
    InvalidConfig with every problem, in the order of the sections.
    """
    examined = examine_config(text, where=where, known_tunnels=known_tunnels)
    if examined.problems or examined.config is None:
        raise InvalidConfig(examined.problems)
    return examined.config


def examine_config(
    text: str, *, where: str, known_tunnels: Collection[str]
) -> Examined:
    """The same as data, for those who go on with what is sound (`vpngate check`)."""
    try:
        document = tomllib.loads(text)
    except _NOT_TOML as error:
        return Examined(None, (Problem(where, f"not TOML: {error}"),))
    tables = {name: {} for name in Config.model_fields} | document
    if isinstance(tables["tunnels"], dict):
        tables["tunnels"] = {"enabled": sorted(known_tunnels)} | tables["tunnels"]
    config, faults = _validate(tables, {"known_tunnels": known_tunnels})
    if faults:
        # What is sound by itself is still held against the rules.
        config, _ = _validate(_without(tables, faults), {})
    problems = [_problem(f, where) for f in faults if not _echo(f, faults)]
    problems += [
        Problem(f"{where}: {rule.keys[0]}", rule.what, rule.remedy)
        for rule in RULES
        if config and not _unsound(rule.keys, faults) and rule.broken(config)
    ]
    faulty = frozenset(str(fault["loc"][0]) for fault in faults)
    return Examined(config, tuple(problems), faulty)


def table_of(text: str) -> str | None:
    """The nftables table that `text` names, whatever else is wrong with it.

    The default's name where it names none; None where it names what is no name of a
    table, or is not TOML.
    """
    try:
        gateway = tomllib.loads(text).get("gateway", {})
        return TypeAdapter(TableValue).validate_python(
            gateway.get("table", DEFAULT_TABLE), strict=True
        )
    except (*_NOT_TOML, AttributeError):  # a section that is none has no keys
        return None


def _validate(
    tables: Mapping[str, Any], context: dict[str, Any]
) -> tuple[Config | None, list[ErrorDetails]]:
    try:
        return Config.model_validate(tables, context=context), []
    except ValidationError as invalid:
        return None, invalid.errors(include_url=False)


def _without(tables: Mapping[str, Any], faults: list[ErrorDetails]) -> dict[str, Any]:
    """The tables without each faulty key, with stand-ins for those that must be."""
    sound = {
        name: dict(table) if isinstance(table, dict) else {}
        for name, table in tables.items()
        if name in Config.model_fields
    }
    for fault in faults:
        section, *keys = fault["loc"]
        if keys:
            sound[str(section)].pop(str(keys[0]), None)
    sound["gateway"].setdefault("interfaces", ["any"])
    sound["tunnels"].setdefault("enabled", ["any"])
    return sound


def _unsound(keys: tuple[str, ...], faults: list[ErrorDetails]) -> bool:
    """Whether one of `keys`, or the whole section of one, is at fault."""
    sections = {key.partition(".")[0] for key in keys}
    return any(
        _dotted(fault["loc"][:2]) in keys or _dotted(fault["loc"]) in sections
        for fault in faults
    )


def _echo(fault: ErrorDetails, faults: list[ErrorDetails]) -> bool:
    """Whether a list counts as empty only because its items are at fault."""
    place = fault["loc"]
    return fault["type"] == "too_short" and any(
        len(other["loc"]) > len(place) and other["loc"][: len(place)] == place
        for other in faults
    )


def _dotted(location: tuple[int | str, ...]) -> str:
    """`("registry", "sources", 1)` as people write it: `registry.sources[1]`."""
    steps = (f"[{x}]" if isinstance(x, int) else f".{_key(x)}" for x in location)
    return "".join(steps).removeprefix(".")


def _key(name: str) -> str:
    """A key as TOML wants it; quoted, it may hold the end of a line, too."""
    return name if _BARE_KEY.fullmatch(name) else repr(name)


def _problem(fault: ErrorDetails, where: str) -> Problem:
    place, kind = f"{where}: {_dotted(fault['loc'])}", fault["type"]
    if kind == "extra_forbidden":
        return Problem(place, "there is no such key", _similar(fault["loc"]))
    if kind == "value_error":
        return Problem(place, str(fault["ctx"]["error"]))
    if kind == "missing":
        return Problem(place, _WORDS[kind], "it has no default")
    if kind == "too_short":
        return Problem(place, _WORDS[kind])
    words = _WORDS.get(kind) or fault["msg"].removeprefix("Input ")
    return Problem(place, f"{words}, not {fault['input']!r}")


def _similar(location: tuple[int | str, ...]) -> str:
    """What may have been meant by an unknown key: the keys that stand beside it."""
    model: type[BaseModel] = Config
    for step in location[:-1]:
        model = cast("type[BaseModel]", model.model_fields[str(step)].annotation)
    near = difflib.get_close_matches(str(location[-1]), model.model_fields, n=1)
    if near:
        return f"is {near[0]!r} meant?"
    return f"there are {', '.join(model.model_fields)}"
