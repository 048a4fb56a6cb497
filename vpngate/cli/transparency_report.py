# SPDX-License-Identifier: GPL-2.0-or-later
"""`vpngate report`: the transparency report, as everybody may read it.

Knows how the report is printed; the daemon makes it (docs/page.md says what is in it).
"""

import argparse
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from vpngate.cli import options
from vpngate.cli.printing.tables import aligned
from vpngate.daemon.outside.client import request

if TYPE_CHECKING:
    from vpngate.cli import Subparsers

_CLASSES = ("allow", "throttle", "none")
_HEADING = ("TUNNEL", "UP", *(name.upper() for name in _CLASSES))


def add_parser(commands: "Subparsers") -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "report", help="the transparency report: classes, limits, counts"
    )
    options.add_socket(parser)
    options.add_format(parser)


def run(args: argparse.Namespace) -> int:
    """Print the report of the running daemon."""
    report = request(args.socket, "report")
    options.show(args.format, report, lambda: lines(report))
    return 0


def lines(report: Mapping[str, Any]) -> Iterator[str]:
    """The report as people read it."""
    yield from aligned([*_facts(report)])
    yield ""
    for name, each in report["classes"].items():
        yield f"{name}: {each['meaning']}"
    for title, part in (("since the start", "flows"), ("last hour", "last_hour")):
        yield ""
        yield f"flows, {title}"
        rows = [
            (each["name"], str(each["up"]), *(str(each[part][c]) for c in _CLASSES))
            for each in report["tunnels"].values()
        ]
        yield from aligned([_HEADING, *rows])


def _facts(report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    gateway, stance, registry = (report[n] for n in ("gateway", "stance", "registry"))
    acts = "acts" if stance["acting"] else "slows nobody"
    until = stance["confirm_by"] or stance["until"] or "-"
    yield "made", report["made"]
    yield "gateway", f"{gateway['name']}, vpngate {gateway['version']}"
    yield "since", gateway["started"]
    yield "stance", f"{stance['mode']}, {acts}, {stance['share_percent']}%"
    yield "why", stance["halted"] or stance["suspended"] or stance["why"]
    yield "until", until
    yield "limit", f"{report['limits']['rate']} {report['limits']['applies_to']}"
    yield "slowed now", f"{report['slowed_flows']} flows"
    yield "registry", f"{registry['name'] or '-'}, serial {registry['serial'] or '-'}"
    prefixes = (f"{n} {family}" for family, n in registry["prefixes"].items())
    yield "prefixes", ", ".join(prefixes)
    yield "in grace", str(sum(registry["in_grace"].values()))
    yield "expires", registry["expires"] or "-"
    yield "stale", "; ".join(registry["stale"]) or "no"
    yield "halts", str(sum(report["halts"].values()))
