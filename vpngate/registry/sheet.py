# SPDX-License-Identifier: GPL-2.0-or-later
"""The registry as CSV: a header, then a registration a line (RFC 4180).

Knows lines, quotes, comments and columns; does not know what a field may hold
(`intake.py`). A field never spans lines, so that a stray quote costs one row and
not all that follow.
"""

import csv
import io
from collections.abc import Iterator

from vpngate.errors import InvalidRegistry, Problem
from vpngate.registry.intake import Fields, Intake, shorten

_REQUIRED = ("prefix", "registration")
_IN_ORDER = list(range(len(Fields._fields)))


def place_of(line: int, field: str) -> str:
    """Where a field stands, for a message."""
    return f"line {line}, {field}" if field else f"line {line}"


def read_sheet(content: bytes, intake: Intake) -> None:
    """Hands each row of a CSV to the intake; InvalidRegistry if there is no header.

    UTF-8 with or without a byte order mark, any line ends; lines that are empty or
    begin with `#` are skipped.
    """
    lines = _lines(content)
    number, header = next(lines, (1, ""))
    columns = _columns(number, header)
    width = header.count(",") + 1
    in_order = columns[:width] == _IN_ORDER[:width]
    for number, line in lines:
        try:
            cells = split_line(line)
        except csv.Error:
            intake.refuse(number, {"": "a quotation mark is out of place"}, None)
            continue
        fields = cells[:width] if in_order else _arrange(cells, columns)
        if len(cells) > width and any(cells[width:]):
            reason = f"{len(cells)} fields where the header has {width}"
            intake.refuse(number, {"": reason}, Fields(*fields))
        elif cells[0] or any(cells):
            intake.take(number, fields)


def split_line(line: str) -> list[str]:
    """The fields of a line, white space around them removed; csv.Error on quotes."""
    if '"' in line:
        cells = next(csv.reader([line], strict=True, skipinitialspace=True))
    else:
        cells = line.split(",")
    if " " in line or "\t" in line:
        return [cell.strip() for cell in cells]
    return cells


def _lines(content: bytes) -> Iterator[tuple[int, str]]:
    """The lines that say something, numbered from 1."""
    # Bytes that are not UTF-8 are shown as escapes: no field takes a backslash.
    text = io.TextIOWrapper(
        io.BytesIO(content), encoding="utf-8-sig", errors="backslashreplace"
    )
    for number, line in enumerate(text, start=1):
        if line[0] != "#" and (bare := line.strip()) and bare[0] != "#":
            yield number, bare


def _columns(number: int, header: str) -> list[int]:
    """At which place of a row each of `Fields` stands; -1 if nowhere."""
    try:
        names = [name.lower() for name in split_line(header)]
    except csv.Error:
        names = [header]
    known = Fields._fields
    remedy = f"the header has {','.join(known)}, of which only the first two must be"
    if not set(names) & set(known):
        raise InvalidRegistry([Problem(place_of(number, ""), "is no header", remedy)])
    wrong = [f"column {name!r} is not known" for name in names if name not in known]
    wrong += [f"column {name!r} is missing" for name in _REQUIRED if name not in names]
    wrong += [
        f"column {name!r} is there twice" for name in known if names.count(name) > 1
    ]
    if wrong:
        raise InvalidRegistry(
            Problem(place_of(number, ""), shorten(what), remedy) for what in wrong
        )
    return [names.index(name) if name in names else -1 for name in known]


def _arrange(cells: list[str], columns: list[int]) -> list[str]:
    return [cells[at] if 0 <= at < len(cells) else "" for at in columns]
