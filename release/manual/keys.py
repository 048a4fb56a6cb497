# SPDX-License-Identifier: GPL-2.0-or-later
"""The keys of vpngate.toml as the schema has them: kind, bounds, default, and words.

Knows how to read `vpngate.config`; does not know how a page is written.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic.functional_validators import BeforeValidator

from vpngate.config.changes import COLD
from vpngate.config.descriptions import KEYS, SECTIONS
from vpngate.config.sections import Config, PrefixLengths
from vpngate.config.values import Quantity, Spelling
from vpngate.tunnels import all_tunnels

OUTDATED = {"gateway.mark"}  # read for one version more, and shown to nobody


@dataclass(frozen=True)
class Key:
    """A key of one section.

    kind     what may stand there, in words
    default  as TOML; empty if there is none
    shown    what the shipped file has: the default, or an example behind `#`
    restart  why a change needs a restart; empty if it does not
    """

    name: str
    kind: str
    default: str
    shown: str
    summary: str
    more: str
    restart: str


@dataclass(frozen=True)
class Section:
    """A table of the file, with its keys in their order."""

    name: str
    about: str
    keys: tuple[Key, ...]


def sections() -> list[Section]:
    """All of them, in the order of the file; KeyError where one is not described."""
    return [
        Section(name, SECTIONS[name], tuple(_keys(name, field.annotation)))
        for name, field in Config.model_fields.items()
    ]


def _keys(section: str, model: Any) -> Iterator[Key]:
    hints = get_type_hints(model, include_extras=True)
    for name, field in model.model_fields.items():
        dotted = f"{section}.{name}"
        if dotted in OUTDATED:
            continue
        words = KEYS[dotted]
        default = _default(dotted, field, hints[name])
        yield Key(
            name=name,
            kind=_kind(hints[name]),
            default=default,
            shown=default or words.example,
            summary=words.summary,
            more=words.more,
            restart=COLD.get(dotted, ""),
        )


def _parts(hint: Any) -> tuple[Any, list[Any]]:
    """The bare type of a hint, and what is noted beside it."""
    if get_origin(hint) is not Annotated:
        return hint, []
    bare, *notes = get_args(hint)
    flat: list[Any] = []
    for note in notes:
        flat += note.metadata if isinstance(note, FieldInfo) else [note]
    return bare, flat


def _kind(hint: Any) -> str:
    bare, notes = _parts(hint)
    for note in notes:
        if isinstance(note, Spelling):
            return note.words
        if quantity := _quantity(note):
            least, most = map(quantity.spell, (quantity.least, quantity.most))
            what = "rate" if bare is int else "duration"
            return f"{what} from `{least}` to `{most}`"
    within = get_args(bare)
    if get_origin(bare) is tuple:
        some = " of at least one" if any(_is(note, MinLen) for note in notes) else ""
        return f"list{some}, each: {_kind(within[0])}"
    return _kind(within[0]) if within else _simple(bare, notes)


def _simple(bare: type, notes: list[Any]) -> str:
    if bare is bool:
        return "`true` or `false`"
    if issubclass(bare, StrEnum):
        return " or ".join(f"`{member}`" for member in bare)
    if issubclass(bare, PrefixLengths):
        lengths = get_type_hints(bare, include_extras=True)
        families = (f"`{name}`, {_kind(lengths[name])}" for name in bare.model_fields)
        return f"table of prefix lengths: {'; '.join(families)}"
    least, most = _bounds(notes)
    return f"number from {least} to {most}"


def _quantity(note: Any) -> Quantity | None:
    reader = note.func if isinstance(note, BeforeValidator) else None
    return reader if isinstance(reader, Quantity) else None


def _bounds(notes: list[Any]) -> tuple[str, str]:
    """The least and the most of a whole number; StopIteration where one is missing."""
    least = [n.ge if isinstance(n, Ge) else n.gt + 1 for n in notes if _is(n, Ge, Gt)]
    most = [n.le if isinstance(n, Le) else n.lt - 1 for n in notes if _is(n, Le, Lt)]
    return f"{next(iter(least)):,}", f"{next(iter(most)):,}"


def _is(note: Any, *kinds: type) -> bool:
    return isinstance(note, kinds)


def _default(dotted: str, field: FieldInfo, hint: Any) -> str:
    if dotted == "tunnels.enabled":  # known where the tunnels are
        return _toml([tunnel.name for tunnel in all_tunnels()])
    if field.is_required():
        return ""
    return _toml(field.default, _spell(hint))


def _spell(hint: Any) -> Any:
    _, notes = _parts(hint)
    for note in notes:
        if isinstance(note, Spelling) and note.spell:
            return note.spell
        if quantity := _quantity(note):
            return quantity.spell
    return None


def _toml(value: Any, spell: Any = None) -> str:
    """A value as the file has it; empty for None without a spelling of its own."""
    if spell is not None:
        value = spell(value)
    if isinstance(value, BaseModel):
        pairs = (f"{name} = {_toml(each)}" for name, each in value)
        return f"{{ {', '.join(pairs)} }}"
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, int):  # true and false among them
        return str(value).lower()
    return "" if value is None else f'"{value}"'
