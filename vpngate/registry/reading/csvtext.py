# SPDX-License-Identifier: GPL-2.0-or-later
"""The registry as CSV: a header, then a registration a line (RFC 4180).

Knows lines, quotes, comments and columns; does not know what a field may hold
(`row_checks.py`). A field never spans lines, so that a stray quote costs one row and
not all that follow.
"""

import codecs
import csv
import io
from collections.abc import Iterable, Iterator

from vpngate.errors import InvalidRegistry, Problem
from vpngate.registry.reading.row_checks import RowChecks, RowFields, bare, shorten

_REQUIRED = ("prefix", "registration")
_MAX_LINE = 64 * 1024  # characters, of a comment too: no more of one is kept
_LINES_A_ROW = 4  # comments and empty lines between rows: more is nobody's registry
_MAX_WRONG = 10  # columns that are told one by one
_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}  # of other programs
_IN_ORDER = list(range(len(RowFields._fields)))


def place_of(line: int, field: str) -> str:
    """Where a field stands, for a message."""
    return f"line {line}, {field}" if field else f"line {line}"


def read_csv(content: Iterable[bytes], intake: RowChecks) -> None:
    """Hands each row of a CSV to the intake; InvalidRegistry if there is no header.

    `content` comes in pieces; one line of it stands in memory at a time.

    UTF-8 with or without a byte order mark, any line ends; lines that are empty or
    begin with `#` are skipped.
    """
    lines = _lines(content, intake)
    number, header = next(lines, (1, ""))
    columns = _columns(number, header)
    width = header.count(",") + 1
    in_order = columns[:width] == _IN_ORDER[:width]
    for number, line in lines:
        if len(line) > _MAX_LINE:
            reason = f"is longer than {_MAX_LINE} characters"
            intake.refuse(number, {"": reason}, None)
            continue
        try:
            cells = split_line(line)
        except csv.Error:
            intake.refuse(number, {"": "a quotation mark is out of place"}, None)
            continue
        fields = cells[:width] if in_order else _arrange(cells, columns)
        if len(cells) > width and any(cells[width:]):
            reason = f"{len(cells)} fields where the header has {width}"
            intake.refuse(number, {"": reason}, RowFields(*fields))
        elif cells[0] or any(cells):
            intake.take(number, fields)


def split_line(line: str) -> list[str]:
    """The fields of a line, white space around them removed; csv.Error on quotes."""
    if '"' in line:
        cells = next(csv.reader([line], strict=True, skipinitialspace=True))
    else:
        cells = line.split(",")
    if " " in line or not (line.isprintable() and line.isascii()):
        return [bare(cell) for cell in cells]
    return cells


def _lines(content: Iterable[bytes], intake: RowChecks) -> Iterator[tuple[int, str]]:
    """The lines that say something, numbered from 1; one too long is cut and shows."""
    number, rest = 0, ""
    for text in _texts(content):
        *whole, rest = (rest + text).split("\n")
        for number, line in enumerate(whole, start=number + 1):  # noqa: B020
            said = line.strip() if line.isascii() else bare(line)
            if len(line) > _MAX_LINE:
                yield number, line
            elif said and said[0] != "#":
                yield number, said
        rest = rest[: _MAX_LINE + 1]
        if number > _LINES_A_ROW * intake.max_rows + _MAX_LINE:
            intake.too_many("lines", _LINES_A_ROW * intake.max_rows)
    if (said := bare(rest)) and said[0] != "#":
        yield number + 1, said


def _texts(content: Iterable[bytes]) -> Iterator[str]:
    """The content as text, all line ends alike."""
    # Bytes that are not UTF-8 are shown as escapes: no field takes a backslash.
    decoder = io.IncrementalNewlineDecoder(
        codecs.getincrementaldecoder("utf-8-sig")("backslashreplace"), translate=True
    )
    for piece in content:
        yield decoder.decode(piece)
    yield decoder.decode(b"", final=True)


def _columns(number: int, header: str) -> list[int]:
    """At which place of a row each of `RowFields` stands; -1 if nowhere."""
    try:
        names = [name.lower() for name in split_line(header)]
    except csv.Error:
        names = [header]
    known = RowFields._fields
    remedy = f"the header has {','.join(known)}, of which only the first two must be"
    other = [words for mark, words in _SEPARATORS.items() if mark in header]
    if other and "," not in header:
        what = f"separates its fields by {other[0]}"
        remedy = "save it with commas between the fields"
        raise InvalidRegistry([Problem(place_of(number, ""), what, remedy)])
    if not set(names) & set(known):
        raise InvalidRegistry([Problem(place_of(number, ""), "is no header", remedy)])
    wrong = [f"column {name!r} is not known" for name in names if name not in known]
    wrong += [f"column {name!r} is missing" for name in _REQUIRED if name not in names]
    wrong += [
        f"column {name!r} is there twice" for name in known if names.count(name) > 1
    ]
    if wrong:
        raise InvalidRegistry(
            Problem(place_of(number, ""), shorten(what), remedy)
            for what in wrong[:_MAX_WRONG]
        )
    return [names.index(name) if name in names else -1 for name in known]


def _arrange(cells: list[str], columns: list[int]) -> list[str]:
    return [cells[at] if 0 <= at < len(cells) else "" for at in columns]
