# SPDX-License-Identifier: GPL-2.0-or-later
"""The flow table: which flows are followed, and for how long.

Knows keys, ages and limits; does not know what makes a flow a tunnel (that is
`state.py`), protocols, sockets or clocks: messages, the gate that each crossed and
`now` come in, sightings go out. A flow is followed only from a message that opens a
conversation; an answer that nobody asked for leaves no trace.

The table is bounded in entries and in bytes. When it is full the flow that was idle
longest goes, and one that nobody has answered before one that is confirmed: a flood
of initiations pushes out its own.
"""

import sys
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from vpngate.flows.state import BEGINNING, FlowChange, FlowState, Settled
from vpngate.packets import FlowKey, HookPoint
from vpngate.recognition import Agree, Evidence, Gate, Heard, Sighting, Tunnel

MAX_BYTES = 256 << 20
# What a flow takes, and each token that it holds: CPython's overhead included, with
# IPv6 addresses, without the payloads that are kept. The test that floods the table
# measures it.
FLOW_BYTES = 900
TOKEN_BYTES = 1100
_UNANSWERED_SHARE = 8  # an eighth of the table

_Flows = OrderedDict[FlowKey, FlowState]  # the one idle longest stands first
_Forgotten = Callable[[Tunnel, FlowKey], object]


class FlowTable:
    """The flows that show, or might show, a tunnel.

    `max_entries` and `max_bytes` bound it, whichever is reached first. Nothing counts
    as confirmed unless `agree` says so of the packets that would confirm it. Times are
    seconds of any one clock; a moment before the last one does no harm. `forgotten` is
    told of each flow that goes without ever having been judged.
    """

    def __init__(
        self,
        max_entries: int,
        agree: Agree,
        max_bytes: int = MAX_BYTES,
        forgotten: _Forgotten = lambda *_: None,
    ) -> None:
        if max_entries < 1 or max_bytes < FLOW_BYTES + TOKEN_BYTES:
            raise ValueError("a flow table has room for one flow at least")
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._flows: dict[Evidence, dict[Tunnel, _Flows]] = {e: {} for e in Evidence}
        self._agree = agree
        self._forgotten = forgotten
        self._entries = 0
        self._tokens = 0
        self._payload_bytes = 0
        self.pushed_out = 0  # flows that had to go since the table was full

    def __len__(self) -> int:
        return self._entries

    @property
    def bytes_used(self) -> int:
        """An estimate of the memory that the flows take."""
        flows = self._entries * FLOW_BYTES + self._tokens * TOKEN_BYTES
        return flows + self._payload_bytes

    def observe(
        self,
        heard: Heard,
        tunnel: Tunnel,
        now: float,
        gate: Gate | None = None,
    ) -> Sighting | None:
        """Take a message in. Returns what it adds to what is known, None if nothing.

        `gate` is where its packet was seen, None where there are no hooks. A sighting
        comes with a flow's first message, with its confirmation, with each later one
        (a repeated handshake, and every now and then what looks like confirmation in
        running traffic), and when a confirmation turns out not to hold.
        """
        packet, message = heard
        key = packet.flow
        by_low = packet.source == key.low
        flow = self._take_out(tunnel, key, now)
        is_new = flow is None
        if flow is None:
            if message.role not in BEGINNING:
                return None
            flow = FlowState(now, gate, by_low=by_low)
        known = flow.evidence is Evidence.CONFIRMED
        try:
            change = flow.take(
                heard, now, gate, partial(self._agree, tunnel), by_low=by_low
            )
        finally:
            self._put_in(tunnel, key, flow)
            self._make_room()
        if not is_new and change is FlowChange.NONE:
            return None
        return sighting_of(tunnel, key, flow, repeated=known)._replace(
            withdrawn=change is FlowChange.WITHDRAWN,
            one_way=is_new and message.one_way and _comes_in(gate),
        )

    def expire(self, now: float, most: int = sys.maxsize) -> int:
        """Forget flows idle for longer than their tunnel says; returns how many.

        `most` is how many at the most: others have their turn before the rest goes.
        """
        least = self._entries - most
        before = self._entries
        for tunnels in self._flows.values():
            for tunnel, flows in tunnels.items():
                while (
                    self._entries > least
                    and flows
                    and _is_idle(next(iter(flows.values())), tunnel, now)
                ):
                    self._drop(tunnel, flows)
        return before - self._entries

    def clear(self) -> None:
        """Forget all flows."""
        for tunnels in self._flows.values():
            for tunnel, flows in tunnels.items():
                for key, flow in flows.items():
                    self._tell(tunnel, key, flow)
            tunnels.clear()
        self._entries = self._tokens = self._payload_bytes = 0

    def judge(self, tunnel: Tunnel, key: FlowKey) -> bool:
        """Note that a verdict was reached on a flow; whether it is the first one."""
        for tunnels in self._flows.values():
            flow = tunnels[tunnel].get(key) if tunnel in tunnels else None
            if flow is not None:
                first, flow.judged = not flow.judged, True
                return first
        return True  # it had to make room at once

    def contradiction(self, tunnel: Tunnel, key: FlowKey) -> str:
        """Why a flow is not believed any more; empty if it is, or is not known."""
        flow = self._known(tunnel, key)
        return flow.contradiction if flow else ""

    def settled(self, tunnel: Tunnel, key: FlowKey) -> Settled | None:
        """How far a flow's running traffic has come; None if it is not confirmed so."""
        flow = self._known(tunnel, key)
        return flow.settled if flow else None

    def counts(self) -> Mapping[tuple[str, Evidence], int]:
        """How many flows, by tunnel and evidence; those with none are left out."""
        return {
            (tunnel.name, evidence): len(flows)
            for evidence, tunnels in self._flows.items()
            for tunnel, flows in tunnels.items()
            if flows
        }

    def _known(self, tunnel: Tunnel, key: FlowKey) -> FlowState | None:
        for tunnels in self._flows.values():
            flow = tunnels[tunnel].get(key) if tunnel in tunnels else None
            if flow is not None:
                return flow
        return None

    def confirmed(self) -> Mapping[Tunnel, Sequence[tuple[FlowKey, FlowState]]]:
        """The confirmed flows as they are at this moment, and their living states."""
        return {
            tunnel: list(flows.items())
            for tunnel, flows in self._flows[Evidence.CONFIRMED].items()
        }

    def _take_out(self, tunnel: Tunnel, key: FlowKey, now: float) -> FlowState | None:
        """Take a flow out; None if it was not there, or had been idle for too long."""
        for tunnels in self._flows.values():
            flow = tunnels[tunnel].pop(key, None) if tunnel in tunnels else None
            if flow is not None:
                self._forget(flow)
                if _is_idle(flow, tunnel, now):
                    self._tell(tunnel, key, flow)
                    return None
                return flow
        return None

    def _put_in(self, tunnel: Tunnel, key: FlowKey, flow: FlowState) -> None:
        self._flows[flow.evidence].setdefault(tunnel, OrderedDict())[key] = flow
        self._entries += 1
        self._tokens += flow.tokens
        self._payload_bytes += flow.payload_bytes

    def _forget(self, flow: FlowState) -> None:
        """Take a flow out of the sums."""
        self._entries -= 1
        self._tokens -= flow.tokens
        self._payload_bytes -= flow.payload_bytes

    def _make_room(self) -> None:
        while self._entries > self._max_entries or self.bytes_used > self._max_bytes:
            self._drop(*self._idle_longest())
            self.pushed_out += 1

    def _idle_longest(self) -> tuple[Tunnel, _Flows]:
        """Returns the flows whose first one is to be forgotten next, and their tunnel.

        As a rule those that nobody has answered. But these keep a share of the table:
        otherwise a table full of confirmed flows would take no new ones.
        """
        unanswered, confirmed = (
            [each for each in self._flows[evidence].items() if each[1]]
            for evidence in Evidence
        )
        share = max(1, self._entries // _UNANSWERED_SHARE)
        too_many = sum(len(flows) for _, flows in unanswered) > share
        candidates = unanswered if too_many or not confirmed else confirmed
        return min(candidates, key=lambda each: next(iter(each[1].values())).last_seen)

    def _drop(self, tunnel: Tunnel, flows: _Flows) -> None:
        key, flow = flows.popitem(last=False)
        self._forget(flow)
        self._tell(tunnel, key, flow)

    def _tell(self, tunnel: Tunnel, key: FlowKey, flow: FlowState) -> None:
        """Tell of a flow that goes, unless a verdict has told of it."""
        if not flow.judged:
            self._forgotten(tunnel, key)


def _comes_in(gate: Gate | None) -> bool:
    return gate is not None and gate.point is HookPoint.INGRESS


def _is_idle(flow: FlowState, tunnel: Tunnel, now: float) -> bool:
    return now - flow.last_seen > tunnel.idle


def sighting_of(
    tunnel: Tunnel, key: FlowKey, flow: FlowState, *, repeated: bool
) -> Sighting:
    """What is to be said of a flow as it stands."""
    ends = (key.low, key.high) if flow.by_low else (key.high, key.low)
    return Sighting(
        tunnel=tunnel,
        flow=key,
        initiator=ends[0],
        responder=ends[1],
        evidence=flow.evidence,
        first_seen=flow.first_seen,
        handshakes=flow.handshakes,
        repeated=repeated,
        crossing=flow.crossing,
    )
