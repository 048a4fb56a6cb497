# SPDX-License-Identifier: GPL-2.0-or-later
"""What a campaign comes to: a table of kinds and outcomes, and a line of JSON a fault.

Knows outcomes; does not know how they came about.
"""

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict

from tests.campaign.campaign import Outcome
from tests.campaign.counts import Kind

_HEADS = ("fault", "times", "broken", "gave up", "lost", "control", "silent", "well")
_UNTOUCHED = [kind for kind in Kind if kind is not Kind.UNREGISTERED]


def as_json(outcome: Outcome) -> str:
    """One line."""
    planned = outcome.planned
    return json.dumps(
        {
            "seed": planned.seed,
            "number": planned.number,
            "fault": planned.fault.name,
            "parameters": dict(planned.parameters),
            "enforcing": planned.enforcing,
            "suffered": list(outcome.suffered),
            "noted": list(outcome.noted),
            "ended": outcome.ended,
            "seconds": round(outcome.seconds, 2),
            "recovery": round(outcome.recovery, 2),
            "log": outcome.log.splitlines(),
            "size": outcome.size and asdict(outcome.size),
            "flows": {
                kind.value: {name: asdict(one) for name, one in pair._asdict().items()}
                for kind, pair in outcome.pairs.items()
            },
        }
    )


def in_words(outcome: Outcome) -> list[str]:
    """One line about a fault, and one for each thing that should not have been."""
    planned = outcome.planned
    how = "BROKEN" if outcome.suffered else "gave up" if outcome.ended else "well"
    head = f"{planned.number:5} {how:7} {outcome.seconds:5.1f} s  {planned}"
    if not outcome.suffered:
        return [head]
    noted = [f"      ({one})" for one in outcome.noted]
    suffered = [f"      - {one}" for one in outcome.suffered]
    return [head, *suffered, *noted, f"      again: {planned.again}"]


def _row(name: str, outcomes: Sequence[Outcome]) -> tuple[str, ...]:
    lost = sum(o.pairs[kind].own.lost for o in outcomes for kind in _UNTOUCHED)
    control = sum(o.pairs[kind].control.lost for o in outcomes for kind in _UNTOUCHED)
    silent = max(o.pairs[Kind.UNREGISTERED].own.silence for o in outcomes)
    wells = [o.recovery for o in outcomes]
    return (
        name,
        str(len(outcomes)),
        str(sum(bool(o.suffered) for o in outcomes)),
        str(sum(o.ended for o in outcomes)),
        str(lost),
        str(control),
        f"{silent:.2f}",
        f"{statistics.median(wells):.2f} {max(wells):.2f}",
    )


def table(outcomes: Iterable[Outcome]) -> str:
    """By kind of fault, and all of them.

    times    that it came
    broken   times that something was not as it should be
    gave up  times that the daemon ended by itself, where it may
    lost     packets of those flows that nobody is to slow; and of their controls
    silent   longest time without a packet of the unregistered tunnel, seconds
    well     seconds until the daemon said so again: median, longest
    """
    kinds: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        kinds.setdefault(outcome.planned.fault.name, []).append(outcome)
    if not kinds:
        return "no fault"
    every = [outcome for some in kinds.values() for outcome in some]
    rows = [_HEADS, *(_row(name, kinds[name]) for name in sorted(kinds))]
    rows.append(_row("all", every))
    widths = [max(len(row[at]) for row in rows) for at in range(len(_HEADS))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if at == 0 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
