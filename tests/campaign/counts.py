# SPDX-License-Identifier: GPL-2.0-or-later
"""What was counted of a flow while something happened: values, and nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise


class Kind(StrEnum):
    """The flows that are watched throughout."""

    REGISTERED = "registered tunnel"
    STREAM = "plain TCP"
    DATAGRAMS = "plain UDP"
    UNREGISTERED = "unregistered tunnel"


@dataclass(frozen=True)
class Counts:
    """Of one flow, or of both directions of one, from one mark to another.

    seconds  between the marks
    sent     datagrams, or writes of a stream
    lost     of these, what never came; of a stream what had to be sent again
    came     what arrived between the marks
    silence  the longest time without an arrival, seconds
    broken   times that a stream ended
    """

    seconds: float
    sent: int
    lost: int
    came: int
    silence: float
    broken: int = 0

    def and_also(self, other: "Counts") -> "Counts":
        """Both of them, as one."""
        return Counts(
            max(self.seconds, other.seconds),
            self.sent + other.sent,
            self.lost + other.lost,
            self.came + other.came,
            max(self.silence, other.silence),
            self.broken + other.broken,
        )


def longest_silence(moments: Sequence[float], begin: float, end: float) -> float:
    """The longest time without an arrival between two moments, in seconds.

    Arrivals outside of them do not count: what was silent before is another's matter.
    """
    edges = [begin, *(one for one in moments if begin <= one <= end), end]
    return max(later - one for one, later in pairwise(edges))
