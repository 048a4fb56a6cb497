# SPDX-License-Identifier: GPL-2.0-or-later
"""The second reader at work: before a verdict, within a budget, and counted.

Knows how much of a core second readings may take, what is counted and what is logged
of them; does not know what is compared (`vpngate.second_reading`), nor any protocol.
A flow whose reading the budget does not allow is left alone: the next handshake, or
the next packets, are another chance. A message that is enough alone has one more only
when its flow was forgotten.
"""

import logging
import time
from collections.abc import Callable, Iterable, Sequence

from vpngate.log_events import named
from vpngate.metrics import Metrics
from vpngate.recognition import Heard, Tunnel
from vpngate.second_reading import (
    Outcome,
    difference,
    is_available,
    second_reading,
)

# Our own limits. A confirmation takes 0.1 to 0.5 ms, so a fifth of a core is 400 of
# them a second or more; what is not used is saved up for a second.
CORE_SHARE = 0.2
_MOST_SAVED = 1.0  # seconds of that share
_BETWEEN_LINES = 60  # seconds between two lines in the log about one tunnel

_log = logging.getLogger(__name__)


class SecondReaders:
    """The second readers of a choice of tunnels, with one budget for all."""

    def __init__(
        self,
        tunnels: Iterable[Tunnel],
        metrics: Metrics,
        *,
        clock: Callable[[], float] = time.monotonic,
        spent: Callable[[], float] = time.thread_time,
    ) -> None:
        """Loads scapy. `clock` counts seconds, `spent` those of CPU of this thread."""
        self._metrics = metrics
        self._clock = clock
        self._spent = spent
        self._left = self._most = CORE_SHARE * _MOST_SAVED
        self._refilled = clock()
        self._told: dict[Tunnel, float] = {}
        self._available: dict[Tunnel, bool] = {}
        self.load(tunnels)

    def load(self, tunnels: Iterable[Tunnel]) -> None:
        """Load what these tunnels' second readers need, where it is not loaded yet."""
        missing = self._missing
        for tunnel in tunnels:
            if tunnel not in self._available:
                self._available[tunnel] = is_available(tunnel)
        if self._missing and not missing:
            _log.error(
                "scapy cannot be loaded: no flow is confirmed without it",
                extra=named("scapy_missing"),
            )

    @property
    def _missing(self) -> bool:
        return not all(self._available.values())

    def agrees(self, tunnel: Tunnel, heard: Sequence[Heard]) -> bool:
        """Whether the second reader confirms a flow, by what confirmed it."""
        outcome = self._outcome(tunnel, heard)
        self._metrics.second_reading(tunnel.name, outcome)
        if outcome is Outcome.DIFFERED:
            self._tell(tunnel, heard)
        return outcome is Outcome.AGREED

    def _outcome(self, tunnel: Tunnel, heard: Sequence[Heard]) -> Outcome:
        self.load([tunnel])
        if not self._available[tunnel]:
            return Outcome.UNAVAILABLE
        now = self._clock()
        earned = (now - self._refilled) * CORE_SHARE
        self._left = min(self._most, self._left + max(0.0, earned))
        self._refilled = now
        if self._left <= 0:
            return Outcome.BUDGET
        before = self._spent()
        outcome = second_reading(tunnel, heard)
        # The last reading may overdraw it, and the next ones wait for that.
        self._left -= self._spent() - before
        return outcome

    def _tell(self, tunnel: Tunnel, heard: Sequence[Heard]) -> None:
        """Log the shape of what was read in two ways, once in a while.

        Names and lengths alone: no address, port, token or byte of anybody's.
        """
        now, told = self._clock(), self._told.get(tunnel)
        if told is not None and now - told < _BETWEEN_LINES:
            return
        self._told[tunnel] = now
        found = difference(tunnel, heard)
        if found is None:
            return
        shape = ", ".join(f"{m.name} ({p.length} bytes)" for p, m in heard)
        at = f" of {found.message} ({found.length} bytes)" if found.message else ""
        _log.warning(
            "two readings of %s differ%s: %s; heard: %s; the flow is left alone",
            tunnel.name,
            at,
            ", ".join(found.facts),
            shape,
            extra=named("readings_differ", tunnel=tunnel.name),
        )
