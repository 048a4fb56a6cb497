# SPDX-License-Identifier: GPL-2.0-or-later
"""A configuration told to strangers: numbers and vpngate's own words, nothing else.

Knows which values are words that vpngate itself has; all others may be a secret, an
address, or tell who somebody is, and are counted. A key that comes to be is one of
those until it holds a number or such a word.
"""

from collections.abc import Iterable, Iterator
from enum import Enum
from typing import Any

from pydantic import BaseModel

from vpngate.config.sections import Config


def without_names(config: Config, known: Iterable[str]) -> Iterator[str]:
    """A line a key, with its section; `known` are the names of tunnels."""
    return _lines(config, {*known, *own_words()}, "")


def own_words() -> set[str]:
    """Every key, every value of every enumeration that one may have, and "off"."""
    return {"off", *_words(Config)}


def _lines(part: BaseModel, words: set[str], above: str) -> Iterator[str]:
    for name, field in type(part).model_fields.items():
        value = getattr(part, name)
        if isinstance(value, BaseModel):
            yield from _lines(value, words, f"{above}{name}.")
        else:
            same = value == field.get_default()
            yield f"{above}{name} = {_spelled(value, words, same=same)}"


def _spelled(value: Any, words: set[str], *, same: bool) -> str:
    match value:
        case None | bool() | int() | float() | Enum():
            return str(value)
        case str() if value in words:
            return value
        case tuple() if value and all(each in words for each in value):
            return ", ".join(value)
    if same:
        return "(default)"
    return f"({len(value)} given)" if type(value) is tuple else "(given)"


def _words(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield name
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, Enum):
            yield from (each.value for each in kind)
        elif isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _words(kind)
