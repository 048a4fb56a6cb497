# SPDX-License-Identifier: GPL-2.0-or-later
"""`python -m tests.campaign`: faults in a row, from a seed; or one kind of them.

Knows its arguments, and where it writes; ends with 1 if anything was broken.
"""

import argparse
import os
import sys
import time
from pathlib import Path

from tests.campaign import report
from tests.campaign.campaign import Campaign, Outcome
from tests.campaign.catalogue import BY_NAME, FAULTS
from tests.campaign.schedule import schedule
from tests.campaign.world import built
from tests.lab.namespaces import LabError
from vpngate.errors import VpngateError

_ROOT = Path(__file__).parents[2]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.campaign")
    parser.add_argument("--faults", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--from", type=int, default=0, dest="first", metavar="NUMBER")
    parser.add_argument("--minutes", type=float, help="begin no fault after that")
    parser.add_argument("--only", choices=sorted(BY_NAME), help="of this kind alone")
    parser.add_argument("--json", type=Path, help="where the lines go")
    return parser.parse_args()


def _say(*lines: str) -> None:
    for line in lines:
        print(line, flush=True)  # noqa: T201 - the answer of a program


def _run(args: argparse.Namespace, file: Path, outcomes: list[Outcome]) -> None:
    faults = [BY_NAME[args.only]] if args.only else FAULTS
    begun = time.monotonic()
    with file.open("w") as lines, built() as world:
        campaign = Campaign(world)
        for planned in schedule(faults, args.seed, args.first, args.faults):
            minutes = (time.monotonic() - begun) / 60
            if args.minutes and minutes > args.minutes:
                _say(f"time is over: next is FROM={planned.number}")
                return
            outcome = campaign.undergo(planned)
            outcomes.append(outcome)
            _say(*report.in_words(outcome))
            lines.write(report.as_json(outcome) + "\n")
            lines.flush()


def main() -> int:
    args = _arguments()
    if os.geteuid() != 0:
        _say("make campaign: it needs root")
        return 1
    file = args.json or _ROOT / "dist" / f"campaign-{args.seed}-{args.first}.jsonl"
    file.parent.mkdir(exist_ok=True)
    _say(f"seed {args.seed}, {args.faults} faults from number {args.first} on")
    outcomes: list[Outcome] = []
    stuck = ""
    try:
        _run(args, file, outcomes)
    except (LabError, VpngateError) as error:
        stuck = str(error)
    except KeyboardInterrupt:
        stuck = "interrupted"
    _say("", report.table(outcomes))
    if stuck:
        number = args.first + len(outcomes)
        _say(f"no going on at number {number} of seed {args.seed}: {stuck}")
    broken = [outcome.planned for outcome in outcomes if outcome.suffered]
    for planned in broken:
        _say(f"broken: {planned.number} {planned}; again: {planned.again}")
    return 1 if broken or stuck else 0


if __name__ == "__main__":
    sys.exit(main())
