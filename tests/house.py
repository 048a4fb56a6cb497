# SPDX-License-Identifier: GPL-2.0-or-later
"""The house: which room stands on which floor, and who imports whom.

Knows the floors of vpngate and how to read imports from source; does not import
anything of it. Imports go down only; rooms of one floor do not know each other.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "vpngate"

# From the ground up. A vocabulary that rooms of one floor share lies below them.
FLOORS = (
    ("ground", ("plaintext",)),
    ("ground", ("errors", "expansion", "packets", "units", "expressions")),
    ("ground", ("links", "signatures")),
    ("ground", ("recognition",)),
    ("mezzanine", ("prefixes", "timekeeping")),
    ("first", ("config", "registry", "tunnels", "flows", "second_reading")),
    ("second", ("policy", "ruleset")),
    ("second", ("plan",)),
    ("third", ("kernel", "capture", "feed", "metrics", "http")),
    ("fourth", ("daemon",)),
    ("fourth", ("doctor",)),
    ("roof", ("cli",)),
)
PURE = ("ground", "mezzanine", "first", "second")

LEVEL = {room: level for level, (_, rooms) in enumerate(FLOORS) for room in rooms}
FLOOR = {room: floor for floor, rooms in FLOORS for room in rooms}


def sources(*rooms: str) -> Iterator[Path]:
    """The modules of the rooms, or of the whole house."""
    for path in sorted(PACKAGE.rglob("*.py")):
        if not rooms or room_of(path) in rooms:
            yield path


def room_of(path: Path) -> str:
    """The room that a module belongs to; empty for the package's own files."""
    first = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    return "" if first.startswith("__") else first


def imports(path: Path) -> Iterator[str]:
    """Every module that a module imports anywhere in it, by its full name."""
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            module = node.module or ""
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def rooms_known(path: Path) -> set[str]:
    """The rooms that a module knows, its own aside."""
    own = {module for module in imports(path) if module.startswith("vpngate.")}
    return {module.split(".")[1] for module in own} & set(LEVEL) - {room_of(path)}
