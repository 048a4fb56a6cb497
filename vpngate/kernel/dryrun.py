# SPDX-License-Identifier: GPL-2.0-or-later
"""The data plane's dry-run twin: the same answers, and no kernel.

Knows what the live twin would hold: the table as data, the verdicts in force and
the switch, with the same idle times; does not know netlink and changes nothing
anywhere. Nothing is ever counted, since no packet passes.
"""

import time
from collections.abc import Callable, Mapping, Sequence

from vpngate.kernel.detour.verdicts import Verdicts, identity
from vpngate.kernel.plane import Comparison, Counters
from vpngate.packets import Direction, Family
from vpngate.plan import plan
from vpngate.policy import Throttle
from vpngate.prefixes.intervals import Intervals
from vpngate.ruleset import Ruleset
from vpngate.ruleset.composition import compose
from vpngate.ruleset.table import Table


class DryRunDataPlane:
    """See `DataPlane`. `clock` gives seconds that never jump."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ruleset: Ruleset | None = None
        self._verdicts = Verdicts()
        self._armed_until = 0.0
        self._refused = 0

    @property
    def ruleset(self) -> Ruleset:
        """What is in force."""
        if self._ruleset is None:
            raise RuntimeError("the data plane has not been started")
        return self._ruleset

    @property
    def table(self) -> Table:
        """The table that the live twin would have installed."""
        return compose(self.ruleset, device=0, generation=1)

    @property
    def armed(self) -> bool:
        """Whether verdicts would be acted on at this moment."""
        return self._clock() < self._armed_until

    @property
    def flows(self) -> list[Throttle]:
        """The flows whose verdicts have not ended."""
        self._expire()
        return [held.flow for held in self._verdicts]

    @property
    def refused(self) -> Mapping[str, str]:
        """There is no kernel that could."""
        return {}

    async def start(self, ruleset: Ruleset) -> None:
        """Note the ruleset."""
        self._ruleset = ruleset

    async def replace(self, ruleset: Ruleset) -> None:
        """Note another ruleset, and end the verdicts that it covers."""
        steps = plan(self.ruleset, ruleset)
        self._ruleset = ruleset
        self._end(lambda flow: steps.end_verdicts or _is_spared(flow, ruleset.spared))

    async def throttle(self, flows: Sequence[Throttle]) -> None:
        """Note verdicts whose ends are not spared."""
        self._expire()
        for flow in flows:
            known = self._verdicts.get(identity(flow)) is not None
            room = known or len(self._verdicts) < self.ruleset.max_flows
            if not self.ruleset.enforce or _is_spared(flow, self.ruleset.spared):
                continue
            if room:
                self._verdicts.add(flow, self._clock())
            else:
                self._refused += 1

    async def withdraw(self, flows: Sequence[Throttle]) -> None:
        """End the verdicts on these flows."""
        self._expire()
        for key in map(identity, flows):
            if self._verdicts.get(key) is not None:
                self._verdicts.forget(key)

    async def release(self, chosen: Callable[[Throttle], bool]) -> int:
        """End the verdicts that the predicate picks."""
        self._expire()
        return self._end(chosen)

    async def rearm(self) -> bool:
        """Note that the dead man lives."""
        if self.ruleset.enforce:
            self._armed_until = self._clock() + self.ruleset.deadman
        return self.ruleset.enforce

    async def disarm(self) -> None:
        """Note that nothing is acted on."""
        self._armed_until = 0.0

    async def counters(self) -> Counters:
        """Zeros, but for flows and verdicts."""
        self._expire()
        return Counters(
            traffic_packets=dict.fromkeys(Direction, 0),
            traffic_bytes=dict.fromkeys(Direction, 0),
            diverted_packets=dict.fromkeys(Direction, 0),
            throttled_packets=dict.fromkeys(Direction, 0),
            throttled_bytes=dict.fromkeys(Direction, 0),
            dropped_packets=dict.fromkeys(Direction, 0),
            spared_packets={family.label: 0 for family in Family},
            reverse_path_failed=0,
            copies_held_back=0,
            throttled_flows={f.label: n for f, n in self._verdicts.live.items()},
            buckets_shared=self._verdicts.shared,
            verdicts_refused=self._refused,
        )

    async def verify(self) -> Sequence[str]:
        """There is nothing that could differ."""
        return ()

    async def compare(self) -> Comparison:
        """What should be there is there."""
        spared = self.ruleset.spared
        zero = {family.label: 0 for family in Family}
        return Comparison(
            compared={family.label: len(spared.of(family)) for family in Family},
            differing=zero,
            surplus=dict(zero),
        )

    async def stop(self) -> None:
        """Forget everything."""
        self._verdicts.clear()
        self._armed_until = 0.0
        self._ruleset = None

    def _expire(self) -> None:
        for key in self._verdicts.due(self._clock()):
            self._verdicts.forget(key)

    def _end(self, chosen: Callable[[Throttle], bool]) -> int:
        keys = self._verdicts.chosen(chosen)
        for key in keys:
            self._verdicts.forget(key)
        return len(keys)


def _is_spared(flow: Throttle, spared: Intervals) -> bool:
    return any(spared.contains(end.address) for end in (flow.subscriber, flow.remote))
