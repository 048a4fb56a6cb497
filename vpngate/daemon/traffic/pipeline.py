# SPDX-License-Identifier: GPL-2.0-or-later
"""From a captured packet to what the kernel is to slow.

Knows the order: recognise, pair both directions at their hooks, decide; owns the flow
table. Does not know sockets, netlink, or the clocks: packets and moments come in,
verdicts go out.
"""

import logging
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from vpngate.capture.live.source import Captured
from vpngate.flows import FlowTable
from vpngate.metrics import Metrics
from vpngate.policy import (
    Decision,
    Throttle,
    Verdict,
    decide,
    is_chosen,
    is_sufficient,
    throttles,
)
from vpngate.recognition import Agree, Heard, Sighting
from vpngate.snapshot import Snapshot
from vpngate.timekeeping.moments import When
from vpngate.tunnels import Recogniser

_log = logging.getLogger(__name__)


class Due(NamedTuple):
    """Verdicts on their way to the kernel."""

    flows: tuple[Throttle, ...]
    seen: float  # when the deciding packet was captured, seconds since the epoch
    withdrawn: bool = False  # they end: what they rested on does not hold


class Pipeline:
    """Recognition and decision on the snapshot of the moment.

    `verdicts` counts what was reached since the start, by tunnel.
    """

    def __init__(
        self, snapshot: Snapshot, metrics: Metrics, chooser: bytes, agree: Agree
    ) -> None:
        """`chooser` is the key that picks the enforced share of the subscribers.

        `agree` is the second reader, asked before a flow counts as confirmed.
        """
        self.flows = FlowTable(snapshot.config.throttle.max_flows, agree)
        self.verdicts: dict[str, Counter[str]] = {}
        self._metrics = metrics
        self._chooser = chooser
        self._agree = agree
        self._snapshot = snapshot
        self._recogniser = Recogniser(snapshot.tunnels)

    def adopt(self, snapshot: Snapshot) -> None:
        """Decide by another snapshot from now on; the flows stay.

        But not those of which halves came in that would not count any more.
        """
        before, self._snapshot = self._snapshot, snapshot
        if before.config.gateway.reverse_path != snapshot.config.gateway.reverse_path:
            self.flows.clear()
        if before.tunnels != snapshot.tunnels:
            # Some 50 ms of the loop, which what is urgent would have to wait for.
            self._recogniser = Recogniser(snapshot.tunnels)

    def take(
        self, captured: Iterable[Captured], elapsed: float, now: When
    ) -> list[Due]:
        """What packets captured by `elapsed` (monotonic seconds) lead to."""
        due = []
        for one in captured:
            try:
                sighting = self._sighting(one, elapsed)
                flows = () if sighting is None else self._judged(sighting, now)
            except Exception:  # noqa: BLE001 - no packet may end the daemon
                _log.exception("a packet could not be read, and is left alone")
                self._metrics.lost("unreadable", 1)
                continue
            if flows:
                withdrawn = sighting is not None and sighting.withdrawn
                due.append(Due(flows, one.timestamp, withdrawn))
        return due

    def _sighting(self, captured: Captured, elapsed: float) -> Sighting | None:
        """What a packet shows of its flow."""
        packet = captured.packet
        found = self._recogniser.recognise(packet)
        if found is None:
            return None
        tunnel, message = found
        heard = Heard(packet, message)
        hook = captured.hook
        gate = None if hook is None else self._snapshot.gate(hook, captured.ifindex)
        sighting = self.flows.observe(heard, tunnel, elapsed, gate)
        if sighting is None or not sighting.one_way:
            return sighting
        # What is acted on alone is read a second time, like what confirms a flow.
        enough = self._snapshot.one_way and self._agree(tunnel, [heard])
        return sighting._replace(one_way=enough)

    def _judged(self, sighting: Sighting, now: When) -> tuple[Throttle, ...]:
        """The flows to slow because of a sighting: none, unless all is certain."""
        if sighting.withdrawn:
            return self._every_throttle(sighting)
        self._metrics.handshake(sighting.tunnel.name, sighting.evidence)
        decision = self._decision(sighting, now)
        if not sighting.repeated:
            self._count(sighting, decision.verdict)
        if decision.verdict is not Verdict.THROTTLE or not self._snapshot.enforcing:
            return ()
        share = self._snapshot.config.gateway.enforce_share / 100
        return tuple(
            flow
            for flow in self._throttles(sighting)
            if is_chosen(flow.bucket, self._chooser, share)
        )

    def _every_throttle(self, sighting: Sighting) -> tuple[Throttle, ...]:
        """What any verdict on a flow was for, wherever its ends were seen before."""
        ends = (sighting.initiator.address, sighting.responder.address)
        prefix = self._snapshot.subscriber_prefix
        return throttles(sighting.tunnel, sighting.flow, ends, prefix)

    def _throttles(self, sighting: Sighting) -> tuple[Throttle, ...]:
        """What a verdict on a flow is for, of its ends that are subscribers."""
        ends = (sighting.initiator, sighting.responder)
        subscribers = [
            end.address
            for end, crossed in zip(ends, sighting.crossing, strict=True)
            if self._snapshot.is_subscriber(crossed)
        ]
        prefix = self._snapshot.subscriber_prefix
        return throttles(sighting.tunnel, sighting.flow, subscribers, prefix)

    def _count(self, sighting: Sighting, verdict: Verdict) -> None:
        name = sighting.tunnel.name
        self.verdicts.setdefault(name, Counter())[verdict.value] += 1
        self._metrics.flow(name, sighting.flow.family, verdict)

    def _decision(self, sighting: Sighting, now: When) -> Decision:
        sufficient = is_sufficient(sighting, one_way=self._snapshot.one_way)
        ends = (sighting.initiator, sighting.responder)
        return decide(sufficient, ends, self._snapshot, now)
