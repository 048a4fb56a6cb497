# SPDX-License-Identifier: GPL-2.0-or-later
"""Findings: one thing about this machine each, and how much it weighs.

Knows their order, and which of them mean that vpngate cannot do its whole job; does
not know where they come from.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum


class Weight(Enum):
    """How bad it is, the worst first."""

    MISSING = "missing"  # something that vpngate needs
    CONFLICT = "conflict"  # with others, so that a guarantee does not hold
    COST = "costs"  # it works, with less
    UNKNOWN = "unknown"  # it could not be looked at
    SOUND = "sound"


_ORDER = {weight: place for place, weight in enumerate(Weight)}
_FEW = 4
_GRAVE = frozenset({Weight.MISSING, Weight.CONFLICT})


@dataclass(frozen=True, slots=True)
class Finding:
    """Where, what, what it costs, and what to do about it; the last two may be empty.

    Nothing in it is anybody's address.
    """

    weight: Weight
    where: str
    what: str
    cost: str = ""
    remedy: str = ""

    @property
    def text(self) -> str:
        """What, cost and remedy in one line."""
        return "; ".join(filter(None, (self.what, self.cost, self.remedy)))


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """The worst first; those that weigh the same as they were found."""
    return sorted(findings, key=lambda finding: _ORDER[finding.weight])


def is_able(findings: Iterable[Finding]) -> bool:
    """Whether nothing is missing and no guarantee is broken."""
    return not any(finding.weight in _GRAVE for finding in findings)


def few(names: Sequence[str]) -> str:
    """Names in one line: all of them if they are few."""
    if len(names) <= _FEW:
        return ", ".join(names)
    return f"{', '.join(names[:_FEW])} and {len(names) - _FEW} more"


def summary(findings: Iterable[Finding]) -> str:
    """The answer in one line."""
    weights = [finding.weight for finding in findings]
    count = {weight: weights.count(weight) for weight in Weight}
    parts = [f"{count[w]} {w.value}" for w in Weight if count[w]]
    able = not any(count[weight] for weight in _GRAVE)
    if not able:
        answer = "vpngate cannot do its whole job here"
    elif count[Weight.UNKNOWN]:
        answer = "vpngate can do its whole job here, as far as could be looked at"
    else:
        answer = "vpngate can do its whole job here"
    return f"{answer} ({', '.join(parts)})"
