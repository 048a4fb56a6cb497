# SPDX-License-Identifier: GPL-2.0-or-later
"""`vpngate diff`: what changed between two registries.

Knows how differences are printed, and that the guard is asked what it would say of
the new one after the old; the registry knows both answers.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from vpngate.cli import inputs, options
from vpngate.cli.printing import screen
from vpngate.cli.printing.networks import counted, fit_for_json, named
from vpngate.cli.printing.tables import show_table
from vpngate.registry import (
    Difference,
    GuardSettings,
    Objection,
    SuspendChange,
    compare,
    objections,
)
from vpngate.registry.columns.entries import Row
from vpngate.timekeeping.moments import ALWAYS, NEVER, format_moment

if TYPE_CHECKING:
    from vpngate.cli import Subparsers

_STYLES = {"+": screen.GOOD, "-": screen.BAD, "<": screen.FAINT, ">": ""}


def add_parser(commands: "Subparsers") -> None:
    """Declare the command."""
    parser = commands.add_parser("diff", help="what changed between two registries")
    parser.add_argument("old", metavar="OLD")
    parser.add_argument("new", metavar="NEW")
    options.add_format(parser)


def run(args: argparse.Namespace) -> int:
    """Print the differences; 1 if the guard would not let NEW follow OLD."""
    now = time.time()
    old = inputs.read_registry(args.old, now).registry
    new = inputs.read_registry(args.new, now).registry
    difference = compare(old, new, now)
    against = objections(old, new, GuardSettings(), now)
    if args.format == "json":
        options.show("json", _object(difference, against), list)
    else:
        _show(difference, against)
    return 1 if against else 0


def _object(difference: Difference, against: Sequence[Objection]) -> dict[str, Any]:
    return {
        "suspend": difference.suspend
        and {
            "old": difference.suspend.old or None,
            "new": difference.suspend.new or None,
        },
        "added": [_row(row) for row in difference.added],
        "removed": [_row(row) for row in difference.removed],
        "changed": [
            {"old": _row(change.old), "new": _row(change.new)}
            for change in difference.changed
        ],
        "gained": fit_for_json(difference.gained),
        "lost": fit_for_json(difference.lost),
        "guard": [
            {
                "reason": objection.reason.value,
                "problem": str(objection.problem),
                "overridable": objection.reason.overridable,
            }
            for objection in against
        ],
    }


def _row(row: Row) -> dict[str, Any]:
    return {
        "prefix": str(row.prefix),
        "registration": row.id,
        "tunnels": list(row.terms.tunnels),
        "valid_from": _moment(row.terms.valid_from),
        "valid_until": _moment(row.terms.valid_until),
    }


def _show(difference: Difference, against: Sequence[Objection]) -> None:
    if difference.suspend:
        told = _suspend(difference.suspend)
        options.show("table", None, lambda: [told])
    rows = [("+", row) for row in difference.added]
    rows += [("-", row) for row in difference.removed]
    for change in difference.changed:
        rows += [("<", change.old), (">", change.new)]
    show_table(
        (), [_cells(*each) for each in rows], [_STYLES[each[0]] for each in rows]
    )
    options.show("table", None, lambda: _summary(difference, against))


def _summary(difference: Difference, against: Sequence[Objection]) -> Iterator[str]:
    yield (
        f"{len(difference.added)} added, {len(difference.removed)} removed,"
        f" {len(difference.changed)} changed"
    )
    for what, these in (("gained", difference.gained), ("lost", difference.lost)):
        if names := named(these):
            yield f"{what}: {counted(these.addresses)}: {names}"
    for objection in against:
        yield f"the guard would refuse it: {objection.problem}"
    if not against:
        yield "the guard would take it"


def _suspend(change: SuspendChange) -> str:
    if not change.new:
        return f"no longer has gateways observe (until now: {change.old})"
    before = f" (until now: {change.old})" if change.old else ""
    return f"has gateways observe: {change.new}{before}"


def _cells(sign: str, row: Row) -> tuple[str, ...]:
    since, until = _moment(row.terms.valid_from), _moment(row.terms.valid_until)
    return (
        sign,
        str(row.prefix),
        row.id,
        "+".join(row.terms.tunnels),
        f"from {since}" if since else "",
        f"until {until}" if until else "",
    )


def _moment(seconds: float) -> str | None:
    return None if seconds in (ALWAYS, NEVER) else format_moment(seconds)
