# SPDX-License-Identifier: GPL-2.0-or-later
"""Draws the house from its imports into docs/architecture.md: `make house`.

Knows `tests/house.py` and the two markers between which the drawing stands; a test
holds that it is current.
"""

import sys
from textwrap import wrap

from tests.house import FLOORS, PACKAGE, ROOT, WITHIN, rooms_known, sources

PAGE = ROOT / "docs" / "architecture.md"
BEGIN = "<!-- the house, by `make house` -->\n"
END = "<!-- end of the house -->\n"

_FLOOR, _ROOM = 11, 16  # columns
_WIDTH = 88


def drawing() -> str:
    """The house from the roof down: each room, what it imports, the floors inside."""
    lines: list[str] = []
    shown = ""
    for floor, rooms in reversed(FLOORS):
        for room in sorted(rooms):
            name = "" if floor == shown else floor
            lines += _room(name, room)
            shown = floor
    return "```text\n" + "\n".join(lines) + "\n```\n"


def _room(floor: str, room: str) -> list[str]:
    known = sorted({name for path in sources(room) for name in rooms_known(path)})
    below = wrap(" ".join(known), _WIDTH - _FLOOR - _ROOM - 3) or [""]
    head = f"{floor:<{_FLOOR}}{room:<{_ROOM}}"
    blank = " " * len(head)
    lines = [f"{head if at == 0 else blank} > {line}" for at, line in enumerate(below)]
    for inside in reversed(WITHIN.get(room, ())):
        within = wrap(_row(room, inside), _WIDTH - len(blank) - 3)
        lines += [f"{blank} | {line}" for line in within]
    return [line.rstrip(" >") for line in lines]


def _row(room: str, names: tuple[str, ...]) -> str:
    """The files and rooms that stand side by side, each with what is inside."""
    return "  ".join(_whole(f"{room}.{name}") for name in sorted(names))


def _whole(room: str) -> str:
    floors = WITHIN.get(room, ())
    name = room.rpartition(".")[2]
    if not floors:
        return name + ("/" if PACKAGE.joinpath(*room.split(".")).is_dir() else "")
    inside = " - ".join(" ".join(sorted(names)) for names in reversed(floors))
    return f"{name}/ ({inside})"


def redrawn(page: str) -> str:
    """The page with the drawing as it is now; ValueError without both markers."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    if not rest or END not in rest:
        raise ValueError("where is the house to be drawn?")
    return before + BEGIN + drawing() + END + after


if __name__ == "__main__":
    PAGE.write_text(redrawn(PAGE.read_text()))
    sys.stdout.write(drawing())
