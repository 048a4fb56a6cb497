# SPDX-License-Identifier: GPL-2.0-or-later
"""`vpngate expiring`: registrations that end or leave their grace, by day.

Knows how they are printed; the registry knows them, and `whose_registry.py` whose it
is.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vpngate.cli import options
from vpngate.cli.printing.tables import show_table
from vpngate.cli.whose_registry import add_sources, of_daemon, of_files, whose_daemon
from vpngate.errors import Problem, WrongUse
from vpngate.registry import by_day, endings
from vpngate.units import parse_duration

if TYPE_CHECKING:
    from vpngate.cli import Subparsers

WITHIN = "30d"
_LONGEST = 100 * 366 * 86400.0  # seconds
_DATE = len("2026-12-31")
_HEADING = ("DAY", "AT", "WHAT", "REGISTRATION", "PREFIX")


def add_parser(commands: "Subparsers") -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "expiring", help="registrations that end or leave their grace, by day"
    )
    parser.add_argument(
        "--within",
        metavar="DURATION",
        default=WITHIN,
        help="how far ahead, like 36h or 30d (default: %(default)s)",
    )
    add_sources(parser)
    options.add_format(parser)


def run(args: argparse.Namespace) -> int:
    """Print them, the soonest first."""
    within = _seconds(args.within)
    found = of_daemon(args, "expiring", {"within": within})
    if found is not None:
        whose = whose_daemon(args)
    else:
        files = of_files(args)
        due = endings(files.registry, files.now, within)
        found, whose = by_day(due, files.now, within), files.whose
    result = {**found, "answered_by": whose}
    if args.format == "json":
        options.show("json", result, list)
    else:
        _show(result, args.within)
    return 0


def _show(found: Mapping[str, Any], within: str) -> None:
    if found["days"]:
        show_table(_HEADING, list(_rows(found)))
    options.show("table", None, lambda: _summary(found, within))


def _rows(found: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    """The day is named in its first row alone."""
    shown = ""
    for each in found["registrations"]:
        day, time = each["at"][:_DATE], each["at"][_DATE + 1 :]
        what = (each["what"], each["registration"], each["prefix"])
        yield ("" if day == shown else day, time, *what)
        shown = day


def _summary(found: Mapping[str, Any], within: str) -> Iterator[str]:
    ends = sum(day["ends"] for day in found["days"])
    leaves = sum(day["leaves_grace"] for day in found["days"])
    if found["more"]:
        yield f"and {found['more']} more"
    yield f"within {within}: {ends} end, {leaves} leave their grace"
    yield f"answered by {found['answered_by']}"


def _seconds(text: str) -> float:
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise WrongUse(Problem("--within", str(error))) from None
    if not 0 < seconds <= _LONGEST:
        raise WrongUse(Problem("--within", f"{text} is no time ahead", "like 30d"))
    return seconds
