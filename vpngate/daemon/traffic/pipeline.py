# SPDX-License-Identifier: GPL-2.0-or-later
"""From a captured packet to what the kernel is to slow.

Knows the order: recognise, pair both directions at their hooks, decide; owns the flow
table. Does not know sockets, netlink, or the clocks: packets and moments come in,
verdicts go out.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from vpngate.capture.live.source import Captured
from vpngate.daemon.traffic.judging import (
    all_to_slow,
    chosen,
    decision_on,
    to_slow,
)
from vpngate.daemon.traffic.observed import Observed
from vpngate.flows import FlowTable, sighting_of
from vpngate.log_events import named, place_of
from vpngate.metrics import Metrics
from vpngate.packets import FlowKey
from vpngate.policy import Throttle, Verdict
from vpngate.recognition import Agree, Heard, Sighting, Tunnel
from vpngate.snapshot import Snapshot
from vpngate.timekeeping.moments import When
from vpngate.tunnels import Recogniser

_FORGOTTEN_AT_ONCE = 1000  # flows: some 10 ms of the loop
_BETWEEN_LINES = 60.0  # seconds between two lines about packets nobody can read

_log = logging.getLogger(__name__)


class Due(NamedTuple):
    """Verdicts on their way to the kernel."""

    flows: tuple[Throttle, ...]
    seen: float  # when the deciding packet was captured, seconds since the epoch
    withdrawn: bool = False  # they end: what they rested on does not hold
    evidence: int = 0


class Pipeline:
    """Recognition and decision on the snapshot of the moment.

    `verdicts` counts the flows since the start, by tunnel and what became of them: a
    verdict, or none until they were forgotten; `observed` what would have been slowed
    while nothing is acted on.
    """

    def __init__(self, snapshot: Snapshot, metrics: Metrics, agree: Agree) -> None:
        """`agree` is the second reader, asked before a flow counts as confirmed.

        handing_over  held from a decision on flows until the kernel has it: what comes
                      later comes behind
        """
        self.flows = FlowTable(
            snapshot.config.throttle.max_flows,
            agree,
            forgotten=lambda tunnel, key: self._count(tunnel, key, Verdict.NONE),
        )
        self.verdicts: dict[str, Counter[str]] = {}
        self._metrics = metrics
        self.observed = Observed()
        self._agree = agree
        self._snapshot = snapshot
        self._recogniser = Recogniser(snapshot.tunnels)
        self.handing_over = asyncio.Lock()
        self._evidence = 0  # of which generation what is evidence is
        self._told_unreadable = -_BETWEEN_LINES

    def adopt(self, snapshot: Snapshot) -> None:
        """Decide by another snapshot from now on; the flows stay.

        But not those of which halves came in that would not count any more.
        """
        before, self._snapshot = self._snapshot, snapshot
        if before.config.gateway.reverse_path != snapshot.config.gateway.reverse_path:
            self.flows.clear()
            self._evidence += 1
        if before.config.tunnels != snapshot.config.tunnels:
            self._evidence += 1
        if before.tunnels != snapshot.tunnels:
            self._recogniser = Recogniser(snapshot.tunnels)

    async def forget_idle(self, now: float) -> None:
        """Forget the flows that have been idle for long, a few at a time.

        Whoever fills the table lets all of it become idle at once.
        """
        forgotten = most = _FORGOTTEN_AT_ONCE
        while forgotten == most:
            forgotten = self.flows.expire(now, most)
            await asyncio.sleep(0)

    def take(
        self, captured: Iterable[Captured], elapsed: float, now: When
    ) -> list[Due]:
        """What packets captured by `elapsed` (monotonic seconds) lead to."""
        due = []
        for one in captured:
            try:
                sighting = self._sighting(one, elapsed)
                flows = () if sighting is None else self._judged(sighting, now)
            except Exception as error:  # noqa: BLE001 - no packet may end the daemon
                self._tell_unreadable(error, elapsed)
                self._metrics.lost("unreadable", 1)
                continue
            if flows:
                withdrawn = sighting is not None and sighting.withdrawn
                due.append(Due(flows, one.timestamp, withdrawn, self._evidence))
        return due

    def _tell_unreadable(self, error: Exception, elapsed: float) -> None:
        """Log where a packet was not to be read, once in a while: anybody can send one.

        Not what the error says: that may quote the packet.
        """
        if elapsed - self._told_unreadable < _BETWEEN_LINES:
            return
        self._told_unreadable = elapsed
        _log.error(
            "a packet could not be read, and is left alone: %s",
            place_of(error),
            extra=named("packet_unreadable"),
        )

    def holds(self, due: Due) -> bool:
        """Whether what was found is evidence still."""
        return due.withdrawn or due.evidence == self._evidence

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
            return all_to_slow(sighting, self._snapshot)
        self._metrics.handshake(sighting.tunnel.name, sighting.evidence)
        decision = decision_on(sighting, self._snapshot, self._snapshot, now)
        tunnel, key, verdict = sighting.tunnel, sighting.flow, decision.verdict
        # What is not confirmed yet may be: it is counted once it is forgotten.
        first = verdict is not Verdict.NONE and self.flows.judge(tunnel, key)
        if first:
            self._count(tunnel, key, verdict)
        if verdict is not Verdict.THROTTLE:
            return ()
        flows = self._chosen(sighting)
        if self._snapshot.enforcing:
            return flows
        if flows and first:
            self.observed.note(sighting, self._snapshot)
        return ()

    def _chosen(self, sighting: Sighting) -> tuple[Throttle, ...]:
        """What acting on a flow slows, of the share that is acted on."""
        return chosen(to_slow(sighting, self._snapshot), self._snapshot.chooses)

    def acts_on(self, flow: Throttle) -> bool:
        """Whether what was decided on a flow is acted on now; from any thread.

        Who is chosen, and what is recognised, may have become fewer meanwhile.
        """
        snapshot = self._snapshot
        known = not flow.tunnel or flow.tunnel in snapshot.config.tunnels.enabled
        return snapshot.enforcing and known and snapshot.chooses(flow.bucket)

    def known(self, now: When) -> Iterator[tuple[Throttle, ...]]:
        """What acting slows of each flow that is confirmed already, perhaps nothing.

        Each is looked at when it is its turn: it may be confirmed no more.
        """
        evidence = self._evidence
        for tunnel, flows in self.flows.confirmed().items():
            for key, flow in flows:
                if evidence != self._evidence:
                    return
                yield self._slowed(sighting_of(tunnel, key, flow, repeated=True), now)

    def _slowed(self, sighting: Sighting, now: When) -> tuple[Throttle, ...]:
        decision = decision_on(sighting, self._snapshot, self._snapshot, now)
        slowed = decision.verdict is Verdict.THROTTLE
        return self._chosen(sighting) if slowed else ()

    def _count(self, tunnel: Tunnel, key: FlowKey, verdict: Verdict) -> None:
        self.verdicts.setdefault(tunnel.name, Counter())[verdict.value] += 1
        self._metrics.flow(tunnel.name, key.family, verdict)
