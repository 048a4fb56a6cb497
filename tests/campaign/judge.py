# SPDX-License-Identifier: GPL-2.0-or-later
"""From what was counted to a verdict: pure functions.

Knows what each flow may lose; does not know how it was counted. Nothing is held
against a fixed number that a busy machine misses: each flow has a control beside it,
which vpngate has no hook on, and what the machine does to one it does to the other.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from tests.campaign.counts import Counts, Kind
from tests.campaign.fault import Cost

# Of what was sent, beyond what the control lost: 0 where that lost nothing.
_LOSSY = 0.02
_LINK_SECONDS = 0.5  # that one link may come back after the other
_LIKE_CONTROL = 0.9  # of the control's share, where the machine is made busy
_LATER = 1.0  # seconds that a silence may be longer than the control's
_STREAM_LATER = 3.0  # of a stream: what was lost waits for its timer, which doubles
_FREE = 0.9  # of the control's share: nobody slows it
_FLOOR = 0.5  # of the slow class's rate at least, over a window
_TELLING = 1.0  # seconds; in less time a rate tells nothing
_MORE_DESCRIPTORS = 12  # than a daemon has at first: connections of the moment
_MORE_MEMORY = 1.6  # times what a daemon has at first
_RESIDENT = 150.0  # MB beside that, of a registry that is read


class Pair(NamedTuple):
    """A flow and its control."""

    own: Counts
    control: Counts


@dataclass(frozen=True)
class Size:
    """How big a daemon is: MB resident, descriptors, threads."""

    resident: float
    descriptors: int
    threads: int


def _allowed(cost: Cost, pair: Pair) -> float:
    """How many datagrams a flow may lose that nobody is to slow."""
    own, control = pair
    share = control.lost / control.sent if control.sent else 0.0
    alike = share * own.sent
    if cost is Cost.LINK:
        return alike + _LINK_SECONDS * own.sent / own.seconds
    if cost is Cost.LOAD:
        return max(alike, own.sent - _LIKE_CONTROL * (own.sent - alike))
    return alike + (_LOSSY * own.sent if control.lost else 0.0)


def untouched(kind: Kind, cost: Cost, pair: Pair) -> Iterator[str]:
    """What a flow suffered that nobody is to slow, in words; nothing if nothing."""
    own, control = pair
    allowed = _allowed(cost, pair)
    if own.lost > allowed:
        lost = f"lost {own.lost} of {own.sent}, its control {control.lost}"
        yield f"{kind}: {lost} of {control.sent}"
    later = _STREAM_LATER if kind is Kind.STREAM else _LATER
    if own.silence > control.silence + later:
        yield f"{kind}: silent {own.silence:.2f} s, its control {control.silence:.2f}"
    if own.broken > control.broken:
        yield f"{kind}: ended {own.broken} times, its control {control.broken}"


def never_blocked(pair: Pair, floor: float, silence: float) -> Iterator[str]:
    """What an unregistered tunnel suffered beyond being slow.

    floor    datagrams a second that the slow class passes
    silence  seconds that it may be silent for longer than the control
    """
    own, control = pair
    if own.silence > control.silence + silence:
        told = f"silent {own.silence:.2f} s, the control {control.silence:.2f}"
        yield f"{Kind.UNREGISTERED}: {told}"
    if own.seconds < _TELLING or not own.sent or not control.sent:
        return
    share = control.came / control.sent
    least = min(_FREE * share * own.sent, _FLOOR * share * floor * own.seconds)
    if own.came < least:
        came = f"{own.came} of {own.sent} came in {own.seconds:.1f} s"
        yield f"{Kind.UNREGISTERED}: neither free nor slow: {came}"


def bounded(first: Size, now: Size, ready: int = 0) -> Iterator[str]:
    """What a daemon has grown by, if that is too much.

    ready  descriptors of what it may have made ahead
    """
    if now.descriptors > first.descriptors + _MORE_DESCRIPTORS + ready:
        yield f"descriptors: {now.descriptors}, at first {first.descriptors}"
    if now.resident > _MORE_MEMORY * first.resident + _RESIDENT:
        yield f"resident: {now.resident:.0f} MB, at first {first.resident:.0f}"


_NEVER_SAID = (
    "Traceback (most recent call last)",
    "this should not have happened",
    "was never retrieved",
    "was never awaited",
    "Exception ignored in",
    "Exception in thread",
    "Fatal Python error",
)


def unseemly(log: str) -> list[str]:
    """What a log should never hold: the lines with it, and what follows each."""
    lines = log.splitlines()
    return [
        " / ".join(lines[at : at + 2])
        for at, line in enumerate(lines)
        if any(words in line for words in _NEVER_SAID)
    ]


def in_all(
    cost: Cost,
    pairs: Mapping[Kind, Pair],
    floor: float,
    silence: float,
) -> list[str]:
    """All that the four flows suffered; nothing if all is well."""
    suffered: list[str] = []
    for kind, pair in pairs.items():
        if kind is Kind.UNREGISTERED:
            suffered += never_blocked(pair, floor, silence)
        else:
            suffered += untouched(kind, cost, pair)
    return suffered
