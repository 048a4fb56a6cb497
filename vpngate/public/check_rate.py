# SPDX-License-Identifier: GPL-2.0-or-later
"""How often the self-check is answered: to one caller, and what is dear at all.

Knows token buckets, in a table of bounded size; does not know what is asked. Times are
of a clock that never jumps, in seconds.
"""

from collections import OrderedDict
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

MOST_CALLERS = 4096  # that are remembered; a forgotten one begins anew


@dataclass(frozen=True)
class Refill:
    """`burst` at once, `per_second` in the long run."""

    burst: float
    per_second: float


EACH = Refill(30, 1)  # of a caller
ALL = Refill(200, 20)  # of all, of what is dear
_SITE = 48  # bits: no subscriber has more of IPv6 (RFC 6177)


def share_of(address: str) -> str:
    """Whose share an address counts against: an address, of IPv6 a /48."""
    parsed = ip_address(address.partition("%")[0])
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is None:
            return f"{int(parsed) >> 128 - _SITE:x}/{_SITE}"
        parsed = parsed.ipv4_mapped
    return str(parsed)


class _Bucket:
    """Tokens, as many as its refill lets there be."""

    __slots__ = ("left", "since")

    def __init__(self, refill: Refill, now: float) -> None:
        self.left, self.since = refill.burst, now

    def fill(self, refill: Refill, now: float) -> None:
        earned = (now - self.since) * refill.per_second
        self.left = min(refill.burst, self.left + max(0.0, earned))
        self.since = now

    def spend(self) -> bool:
        """Take one, if there is one."""
        if self.left < 1:
            return False
        self.left -= 1
        return True


class CheckRate:
    """Who asked how often lately; nothing else, and no longer than needed."""

    def __init__(
        self, each: Refill = EACH, together: Refill = ALL, most: int = MOST_CALLERS
    ) -> None:
        self._each, self._together, self._most = each, together, most
        self._all: _Bucket | None = None
        self._callers: OrderedDict[str, _Bucket] = OrderedDict()  # the latest last

    def __len__(self) -> int:
        return len(self._callers)

    def take(self, caller: str, now: float) -> bool:
        """Count one question; whether it is within its caller's own share.

        No other caller can use that up.
        """
        self.forget(now)
        mine = self._callers.pop(caller, None) or _Bucket(self._each, now)
        mine.fill(self._each, now)
        self._callers[caller] = mine
        return mine.spend()

    def take_dear(self, now: float) -> bool:
        """Count one, taken by its caller, that is dear; whether it is to be answered.

        What a caller asks beyond his own share takes nothing of what all have together.
        """
        if self._all is None:
            self._all = _Bucket(self._together, now)
        self._all.fill(self._together, now)
        return self._all.spend()

    def forget(self, now: float) -> float | None:
        """Let go of those whose share is whole again, and of the oldest beyond room.

        Returns in how many seconds there will be another; None if nobody is left.
        """
        full = self._each.burst / self._each.per_second
        while self._callers:
            caller, bucket = next(iter(self._callers.items()))
            left = full - (now - bucket.since)
            if left > 0 and len(self._callers) < self._most:
                return left
            del self._callers[caller]
        return None
