# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether the registry in force is what it should be now.

Knows when a source last had it, what failed since, and when it expires; does not know
how it is fetched. Stale or not, everybody in it is spared.
"""

import logging
import time

from vpngate.daemon.wall_clock import WallClock
from vpngate.log_events import named
from vpngate.registry import Registry
from vpngate.timekeeping.moments import format_moment, span_of

STALE_AFTER = 3  # intervals of `refresh` without success

_log = logging.getLogger(__name__)


class Freshness:
    """What became of the latest refreshes; `stale` may be asked from any thread."""

    def __init__(self, clock: WallClock, succeeded: float | None = None) -> None:
        """`succeeded`: when an earlier run last had a success; None: this one just had.

        In seconds since 1970; where the clock is in doubt, as recent as it may be.
        """
        self.failures = 0  # in a row
        self.failure = ""  # why the last registry was not taken
        # The latest refusal, also where a success has followed: when, and why.
        self.last_refusal: tuple[float, str] | None = None
        self.passed_over: list[str] = []  # what other sources said to the last fetch
        self._clock = clock
        now = span_of(clock.now()).earliest
        age = 0.0 if succeeded is None else max(0.0, now - succeeded)
        self._success = time.monotonic() - age
        self.last_success = now - age  # seconds since 1970
        self._told: set[str] = set()

    def failed(self, line: str) -> None:
        """A registry was not taken, or not put in force."""
        self.failures += 1
        self.failure = line
        self.last_refusal = span_of(self._clock.now()).latest, line

    def succeeded(self) -> None:
        """A source has what is in force: that is a success, new or not."""
        if self.failures:
            _log.info(
                "the registry is refreshed again; failures: %d",
                self.failures,
                extra=named("registry_refreshed_again", failures=self.failures),
            )
        self.failures, self.failure = 0, ""
        self._success = time.monotonic()
        self.last_success = span_of(self._clock.now()).latest

    def stale(self, registry: Registry, refresh: float) -> dict[str, str]:
        """What is wrong, in a word and in a line; `refresh` in seconds."""
        found = {}
        expires, now = registry.expires, span_of(self._clock.now())
        if expires is not None and expires <= now.earliest:
            found["expired"] = (
                f"the registry in force expired at {format_moment(expires)}"
                "; it still spares everybody in it"
            )
        age = time.monotonic() - self._success
        if age > STALE_AFTER * refresh:
            found["old"] = (
                f"the registry has not been refreshed for {age:.0f} s, more than "
                f"{STALE_AFTER} intervals; the one in force stays"
            )
        return found

    def tell(self, registry: Registry, refresh: float) -> None:
        """Log what is stale, once, and once that nothing is any more."""
        found = self.stale(registry, refresh)
        for kind in found.keys() - self._told:
            _log.warning("%s", found[kind], extra=named("registry_stale", kind=kind))
        if self._told and not found:
            _log.info(
                "the registry in force is fresh again", extra=named("registry_fresh")
            )
        self._told = set(found)
