# SPDX-License-Identifier: GPL-2.0-or-later
"""What a run of the bench found, and the JSON that keeps it.

Knows the file's form; does not measure, print or draw. The file is one object:

    format   1
    effort   "whole", "quick" or "tiny"
    began    when, ISO 8601 in UTC
    seconds  how long all of it took
    machine  what it ran on: each thing, and what it is
    missing  rows that were not asked for
    rows     one object a row, in the order in which they ran:
      name, title, about   as the row says
      seconds              how long it took
      failed               why it ended before its end; empty if it did not
      noise                before and after it: milliseconds that a fixed loop took,
                           `clock` by the clock, `processor` on a processor
      items                figures and curves, by `kind`:
        figure  name, unit; `what` and `ours`, a value a turn; `against` and `theirs`,
                the same of what it is compared with, or "" and []; `at_most` and
                `at_least`, bounds of the median ratio, or of the median where nothing
                is compared, or null; `note`
        curve   name, `unit` of y, `of` what x counts, `x`, `y`, `at_most`, a bound of
                the exponent, or null; `note`
"""

import json
from dataclasses import asdict, dataclass
from typing import Any

from bench.contract import Curve, Effort, Figure, as_data, from_data
from bench.noise import Noise

FORMAT = 1


@dataclass(frozen=True)
class RowResult:
    """What became of a row."""

    name: str
    title: str
    about: str
    seconds: float
    failed: str
    noise: tuple[Noise, Noise]  # before and after
    items: tuple[Figure | Curve, ...]

    @property
    def figures(self) -> list[Figure]:
        return [item for item in self.items if isinstance(item, Figure)]

    @property
    def curves(self) -> list[Curve]:
        return [item for item in self.items if isinstance(item, Curve)]


@dataclass(frozen=True)
class Result:
    """A run."""

    effort: Effort
    began: str
    seconds: float
    machine: dict[str, str]
    missing: tuple[str, ...]
    rows: tuple[RowResult, ...]

    @property
    def noises(self) -> list[Noise]:
        """All looks at the machine, in order."""
        return [each for row in self.rows for each in row.noise]


class Unreadable(ValueError):
    """The file is none of this form."""


def to_json(result: Result) -> str:
    """As the file has it."""
    rows = []
    for row in result.rows:
        before, after = map(asdict, row.noise)
        rows.append(
            {
                **{k: getattr(row, k) for k in ("name", "title", "about", "seconds")},
                "failed": row.failed,
                "noise": {"before": before, "after": after},
                "items": [as_data(item) for item in row.items],
            }
        )
    page = {
        "format": FORMAT,
        "effort": result.effort.value,
        "began": result.began,
        "seconds": result.seconds,
        "machine": result.machine,
        "missing": list(result.missing),
        "rows": rows,
    }
    return json.dumps(page, indent=1, ensure_ascii=False) + "\n"


def from_json(text: str) -> Result:
    """What `to_json` wrote; Unreadable if it did not."""
    try:
        page = json.loads(text)
        found = page["format"]
        read = _result(page) if found == FORMAT else None
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise Unreadable(f"no result of the bench: {error!r}") from error
    if read is None:
        raise Unreadable(f"format {found!r}, not {FORMAT}")
    return read


def _result(page: dict[str, Any]) -> Result:
    return Result(
        Effort(page["effort"]),
        str(page["began"]),
        float(page["seconds"]),
        dict(page["machine"]),
        tuple(page["missing"]),
        tuple(map(_row, page["rows"])),
    )


def _row(data: dict[str, Any]) -> RowResult:
    before, after = (
        Noise(tuple(one["clock"]), tuple(one["processor"]))
        for one in (data["noise"]["before"], data["noise"]["after"])
    )
    return RowResult(
        data["name"],
        data["title"],
        data["about"],
        float(data["seconds"]),
        data["failed"],
        (before, after),
        tuple(map(from_data, data["items"])),
    )
