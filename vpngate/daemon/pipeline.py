# SPDX-License-Identifier: GPL-2.0-or-later
"""From a captured packet to what the kernel is to slow.

Knows the order: recognise, pair both directions, decide; owns the flow table. Does
not know sockets, netlink, or the clocks: packets and moments come in, verdicts
go out.
"""

import logging
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from vpngate.capture.source import Captured
from vpngate.daemon.snapshot import Snapshot
from vpngate.flows import FlowTable
from vpngate.metrics import Metrics
from vpngate.packets import Direction
from vpngate.policy import (
    Decision,
    Throttle,
    Verdict,
    decide,
    is_chosen,
    is_sufficient,
    throttles,
)
from vpngate.recognition import Message, Sighting
from vpngate.registry.moments import When
from vpngate.tunnels import Recogniser

_log = logging.getLogger(__name__)


class Due(NamedTuple):
    """Verdicts on their way to the kernel."""

    flows: tuple[Throttle, ...]
    seen: float  # when the deciding packet was captured, seconds since the epoch


class Pipeline:
    """Recognition and decision on the snapshot of the moment.

    `verdicts` counts what was reached since the start, by tunnel.
    """

    def __init__(self, snapshot: Snapshot, metrics: Metrics, chooser: bytes) -> None:
        """`chooser` is the key that picks the enforced share of the subscribers."""
        self.flows = FlowTable(snapshot.config.throttle.max_flows)
        self.verdicts: dict[str, Counter[str]] = {}
        self._metrics = metrics
        self._chooser = chooser
        self.adopt(snapshot)

    def adopt(self, snapshot: Snapshot) -> None:
        """Decide by another snapshot from now on; the flows stay."""
        self._snapshot = snapshot
        self._recogniser = Recogniser(snapshot.tunnels)

    def take(
        self, captured: Iterable[Captured], elapsed: float, now: When
    ) -> list[Due]:
        """What packets captured by `elapsed` (monotonic seconds) lead to."""
        due = []
        for one in captured:
            try:
                flows = self._flows(one, elapsed, now)
            except Exception:  # noqa: BLE001 - no packet may end the daemon
                _log.exception("a packet could not be read, and is left alone")
                self._metrics.lost("unreadable", 1)
                continue
            if flows:
                due.append(Due(flows, one.timestamp))
        return due

    def _flows(
        self, captured: Captured, elapsed: float, now: When
    ) -> tuple[Throttle, ...]:
        """The flows to slow because of a packet."""
        found = self._recogniser.recognise(captured.packet)
        if found is None:
            return ()
        sighting = self.flows.observe(captured.packet, *found, elapsed)
        if sighting is None:
            return ()
        self._metrics.handshake(sighting.tunnel.name, sighting.evidence)
        decision = self._decision(sighting, found[1], now)
        return self._judged(sighting, decision, captured)

    def _judged(
        self, sighting: Sighting, decision: Decision, captured: Captured
    ) -> tuple[Throttle, ...]:
        """The flows to slow because of a sighting: none, unless all is certain."""
        if not sighting.repeated:
            self._count(sighting, decision.verdict)
        if decision.verdict is not Verdict.THROTTLE or not self._snapshot.enforcing:
            return ()
        flows = throttles(
            sighting.tunnel,
            sighting.flow,
            self._subscriber(captured),
            self._snapshot.subscriber_prefix,
        )
        share = self._snapshot.config.gateway.enforce_share / 100
        return flows if is_chosen(flows[0].bucket, self._chooser, share) else ()

    def _count(self, sighting: Sighting, verdict: Verdict) -> None:
        name = sighting.tunnel.name
        self.verdicts.setdefault(name, Counter())[verdict.value] += 1
        self._metrics.flow(name, sighting.flow.family, verdict)

    def _decision(self, sighting: Sighting, message: Message, now: When) -> Decision:
        sufficient = is_sufficient(
            sighting.evidence, message, one_way=self._snapshot.one_way
        )
        ends = (sighting.initiator, sighting.responder)
        return decide(sufficient, ends, self._snapshot, now)

    def _subscriber(self, captured: Captured) -> bytes:
        packet = captured.packet
        direction = self._snapshot.direction(ingress=captured.ingress)
        end = packet.source if direction is Direction.UPLOAD else packet.destination
        return end.address
