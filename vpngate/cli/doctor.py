# SPDX-License-Identifier: GPL-2.0-or-later
"""`vpngate doctor`: whether vpngate can do its whole job on this machine.

Knows how findings are printed; the doctor's room knows what is looked at.
"""

import argparse
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from vpngate.cli import inputs, options
from vpngate.cli.printing import screen
from vpngate.cli.printing.tables import show_table
from vpngate.config import examine_config
from vpngate.daemon.outside.client import request
from vpngate.errors import InvalidConfig

if TYPE_CHECKING:
    from vpngate.cli import Subparsers
    from vpngate.doctor.findings import Finding

_STYLES = {
    "missing": screen.BAD,
    "conflict": screen.BAD,
    "costs": screen.WARNING,
    "unknown": screen.WARNING,
    "sound": "",
}


def add_parser(commands: "Subparsers") -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "doctor", help="this machine: what vpngate needs, what stands in its way"
    )
    options.add_config(parser)
    options.add_socket(parser)
    options.add_format(parser)
    parser.add_argument(
        "--kernel",
        action="store_true",
        help="also have the running daemon compare all that the kernel spares",
    )


def run(args: argparse.Namespace) -> int:
    """Print a line a finding, the worst first; 1 if a guarantee would not hold.

    With --kernel a daemon has to be running: DaemonUnreachable if none is.
    """
    from vpngate.doctor.examination import examine
    from vpngate.doctor.findings import in_order, is_able
    from vpngate.doctor.kernel_comparison import PATIENCE, judge_comparison

    examined = examine_config(
        inputs.read_text(args.config),
        where=args.config,
        known_tunnels=inputs.known_tunnels(),
    )
    if examined.config is None:
        raise InvalidConfig(examined.problems)
    compared: list[Finding] = []
    if args.kernel:
        answer = request(args.socket, "compare", timeout=PATIENCE)
        compared = list(judge_comparison(answer))
    # What the parts that are tried log is in the findings.
    logging.getLogger("vpngate").addHandler(logging.NullHandler())
    found_here = examine(examined, examined.config, args.config, args.socket)
    findings = in_order([*found_here, *compared])
    able = is_able(findings)
    found = {"able": able, "findings": [_entry(finding) for finding in findings]}
    if args.format == "json":
        options.show("json", found, list)
    else:
        _show(findings)
    return 0 if able else 1


def _entry(finding: "Finding") -> dict[str, str]:
    return {
        "weight": finding.weight.value,
        "where": finding.where,
        "what": finding.what,
        "cost": finding.cost,
        "remedy": finding.remedy,
    }


def _show(findings: Sequence["Finding"]) -> None:
    from vpngate.doctor.findings import summary

    rows = [(f.weight.value, f.where, f.text) for f in findings]
    show_table((), rows, [_STYLES[f.weight.value] for f in findings])
    options.show("table", None, lambda: [summary(findings)])
