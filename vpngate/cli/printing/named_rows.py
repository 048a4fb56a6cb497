# SPDX-License-Identifier: GPL-2.0-or-later
"""A daemon's answer as names and values, one a line: what it has no table for.

Knows how values are spelled, and how they are nested; does not know what they mean, but
for a few words that a terminal shows in a colour.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from vpngate.cli.printing import screen
from vpngate.plaintext import plain

# By name of the row: what its value looks like where it is true, and where it is not.
_STYLES = {
    "healthy": (screen.GOOD, screen.BAD),
    "armed": (screen.GOOD, screen.WARNING),
    "in_sync": (screen.GOOD, screen.BAD),
}
_TELLING = {"reasons": screen.BAD, "warnings": screen.WARNING}


def show_rows(state: Mapping[str, Any]) -> None:
    """Print them: drawn on a terminal, plain elsewhere."""
    if screen.is_screen():
        screen.draw(screen.grid(list(_drawn(state))))
        return
    for line in rows(state):
        print(plain(line, screen.LONGEST))


def rows(state: Mapping[str, Any], indent: str = "") -> Iterator[str]:
    """The state as aligned lines; a table within it is indented below its name."""
    width = max((len(name) for name in state), default=0)
    for name, value in state.items():
        label = plain(name.replace("_", " "))
        if isinstance(value, Mapping) and value:
            yield f"{indent}{label}"
            yield from rows(value, indent + "  ")
        else:
            yield f"{indent}{label:<{width}}  {spelled(value)}"


def _drawn(
    state: Mapping[str, Any], indent: str = ""
) -> Iterator[tuple[str, str, str]]:
    for name, value in state.items():
        label = indent + name.replace("_", " ")
        if isinstance(value, Mapping) and value:
            yield label, "", ""
            yield from _drawn(value, indent + "  ")
        else:
            yield label, spelled(value), style_of(name, value)


def style_of(name: str, value: object) -> str:
    """How a value looks on a terminal; "" for as any other."""
    if name in _STYLES and isinstance(value, bool):
        good, bad = _STYLES[name]
        return good if value else bad
    return _TELLING.get(name, "") if value else ""


def spelled(value: object) -> str:
    """A value as people read it."""
    match value:
        case True | False:
            return "yes" if value else "no"
        case None | [] | {}:
            return "-"
        case list():
            return "; ".join(map(spelled, value))
        case _:
            return plain(str(value))
