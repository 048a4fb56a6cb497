# SPDX-License-Identifier: GPL-2.0-or-later
"""The data plane's dry-run twin: the same answers, and no kernel.

Knows what the live twin would hold: the table as data, the verdicts in force and
the switch, with the same idle times; does not know netlink and changes nothing
anywhere. Nothing is ever counted, since no packet passes.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence

from vpngate.kernel.detour.verdicts import Verdicts, identity
from vpngate.kernel.plane import NOBODY, Comparison, Counters, Glance
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
        self.still_wanted: Callable[[Throttle], bool] = lambda _flow: True
        self._ruleset: Ruleset | None = None
        self.protected = NOBODY
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
        return compose(self.ruleset)

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

    async def start(self, ruleset: Ruleset, protected: Intervals = NOBODY) -> None:
        """Note the ruleset, and who is protected."""
        self._ruleset = ruleset
        self.protected = protected

    async def replace(self, ruleset: Ruleset) -> None:
        """Note another ruleset, and end the verdicts that it covers."""
        steps = plan(self.ruleset, ruleset)
        self._ruleset = ruleset
        until = self._clock() + ruleset.deadman if ruleset.enforce else 0.0
        self._armed_until = min(self._armed_until, until)
        self._end(lambda flow: steps.end_verdicts or _is_spared(flow, ruleset.spared))

    async def protect(self, addresses: Intervals) -> None:
        """Note who is protected, and end the verdicts on them."""
        self.protected = addresses
        self._end(lambda flow: _is_spared(flow, addresses))

    async def throttle(self, flows: Sequence[Throttle]) -> None:
        """Note verdicts whose ends are not spared."""
        self._expire()
        for flow in filter(self.still_wanted, flows):
            known = self._verdicts.get(identity(flow)) is not None
            room = known or len(self._verdicts) < self.ruleset.max_flows
            left_alone = any(
                _is_spared(flow, each) for each in (self.ruleset.spared, self.protected)
            )
            if left_alone or not self.ruleset.enforce:
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

    async def slowed(self) -> Sequence[Throttle]:
        """The flows whose verdicts have not ended."""
        return self.flows

    async def slows(self, subscriber: bytes, bucket: bytes) -> bool:  # noqa: ARG002
        """Whether a flow of this address has a verdict."""
        return any(flow.subscriber.address == subscriber for flow in self.flows)

    async def rearm(self, at_most: float = math.inf) -> bool:
        """Note that the dead man lives."""
        if self.ruleset.enforce:
            seconds = min(self.ruleset.deadman, at_most)
            self._armed_until = self._clock() + seconds
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
            witness_packets={family.label: 0 for family in Family},
            reverse_path_failed=0,
            copies_held_back=0,
            throttled_flows={f.label: n for f, n in self._verdicts.live.items()},
            throttled_by_tunnel={
                f.label: n for f, n in self._verdicts.live_by_tunnel.items()
            },
            throttled_subscribers=self._verdicts.subscribers,
            buckets_shared=self._verdicts.shared,
            verdicts_refused=self._refused,
        )

    async def glance(self) -> Glance:
        """Zeros."""
        return Glance(self._clock(), 0.0, 0, 0, 0, 0, [], 0, 0)

    async def verify(self) -> Sequence[str]:
        """There is nothing that could differ."""
        return ()

    async def compare(self) -> Comparison:
        """What should be there is there."""
        sets = (self.ruleset.spared, self.protected)
        zero = {family.label: 0 for family in Family}
        return Comparison(
            compared={f.label: sum(len(each.of(f)) for each in sets) for f in Family},
            differing=zero,
            surplus=dict(zero),
        )

    async def stop(self) -> None:
        """Forget everything."""
        self._verdicts.clear()
        self._armed_until = 0.0
        self._ruleset = None
        self.protected = NOBODY

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
