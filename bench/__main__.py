# SPDX-License-Identifier: GPL-2.0-or-later
"""Measures vpngate beside what it is to be compared with; one table, one file.

    python -m bench [--only ROW,ROW] [--quick] [--json FILE] [--write-docs]
    python -m bench --read FILE [--write-docs]

Whole it takes some 40 minutes on two quiet cores, quick a few minutes. `--write-docs`
writes docs/performance.md and its plots. Ends with 1 if a row did not come to its end.
"""

import argparse
import signal
import sys
from pathlib import Path

from bench import page
from bench.contract import Effort
from bench.result import Result, RowResult, Unreadable, from_json, to_json
from bench.rows import NAMES
from bench.runner import run
from bench.table import table, told

_DOCS = Path(__file__).parent.parent / "docs"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument(
        "--only",
        type=lambda text: text.split(","),
        metavar="ROW,ROW",
        help=f"of {', '.join(NAMES)}",
    )
    size = parser.add_mutually_exclusive_group()
    for effort, about in (
        (Effort.QUICK, "fewer turns, smaller sizes"),
        (Effort.TINY, "only to see that it runs"),
    ):
        size.add_argument(
            f"--{effort.value}",
            dest="effort",
            action="store_const",
            const=effort,
            default=Effort.WHOLE,
            help=about,
        )
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to keep it")
    parser.add_argument("--write-docs", action="store_true", help="docs/performance.md")
    parser.add_argument("--read", type=Path, metavar="FILE", help="measure nothing")
    found = parser.parse_args()
    if unknown := set(found.only or ()) - set(NAMES):
        parser.error(f"no such row: {', '.join(sorted(unknown))}")
    return found


def _result(arguments: argparse.Namespace) -> Result:
    if arguments.read:
        try:
            return from_json(arguments.read.read_text())
        except (OSError, Unreadable) as error:
            sys.exit(f"{arguments.read}: {error}")
    names = [name for name in NAMES if name in (arguments.only or NAMES)]
    missing = [name for name in NAMES if name not in names]

    def heard(row: RowResult) -> None:
        print(told(row), flush=True)

    return run(names, arguments.effort, missing=missing, told=heard)


def main() -> None:
    arguments = _arguments()
    # As an exception does, so that the row that runs is ended with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    result = _result(arguments)
    if arguments.json:
        arguments.json.write_text(to_json(result))
    print(table(result), end="")
    if arguments.write_docs:
        page.write(result, _DOCS)
    sys.exit(any(row.failed for row in result.rows))


if __name__ == "__main__":
    main()
