# SPDX-License-Identifier: GPL-2.0-or-later
"""One flow's messages, and whether they amount to a tunnel.

Knows when what was heard is enough, when it is said again, and when it contradicts
itself; asks a second reader before anything counts. Does not know how a handshake
goes (`handshake.py`) or what running traffic looks like (`running.py`), nor
protocols, other flows, or how long anything is kept.
"""

from collections.abc import Callable, Sequence
from enum import Enum
from typing import NamedTuple

from vpngate.flows.handshake import MOST_CONVERSATIONS, OPENING, Conversation
from vpngate.flows.running import ECHO, Contradiction, RunningTraffic, Stream
from vpngate.recognition import Crossing, Evidence, Gate, Heard, Role

# Seconds until what is sent again (an initiation that was answered, packets that look
# alike) confirms a flow again: often enough to bring an expired verdict back.
RENEWAL = 30

# The roles that a flow may begin with.
BEGINNING = OPENING | {Role.TRAFFIC}
_CONTINUOUS = frozenset({Role.EXCHANGE, Role.TRAFFIC})
_ENDS = (True, False)  # the lower one, the higher one


class FlowChange(Enum):
    """What a message did to its flow's evidence."""

    NONE = "none"
    CONFIRMED = "confirmed"  # or confirmed again
    WITHDRAWN = "withdrawn"  # it was confirmed, and that does not hold


class Settled(NamedTuple):
    """Running traffic that was confirmed: what goes on as before says nothing new.

    until      when it may, in seconds of the flow table's clock
    last_seen  when its last packet came
    streams    how far its packets have come
    """

    until: float
    last_seen: float
    streams: tuple[Stream, ...]

    @property
    def is_ambiguous(self) -> bool:
        """Whether both ends name one token, so that one may echo the other."""
        low, high = ({s.token for s in self.streams if s.by_low is e} for e in _ENDS)
        return not low.isdisjoint(high)


class FlowState:
    """What is remembered of one flow of one tunnel.

    `by_low` says, here and in `take`, whether the flow's lower end is meant: as the
    initiator, and as a message's sender. A flow that contradicted itself is not
    believed again for as long as it is remembered; `contradiction` says why. `judged`
    is for whoever reaches verdicts: whether one was.
    """

    __slots__ = (
        "_announced",
        "_conversations",
        "_running",
        "by_low",
        "contradiction",
        "crossing",
        "evidence",
        "first_seen",
        "handshakes",
        "judged",
        "last_seen",
    )

    def __init__(self, now: float, gate: Gate | None, *, by_low: bool) -> None:
        self.first_seen = self.last_seen = self._announced = now
        self.by_low = by_low
        self.crossing = Crossing(frozenset({gate}))
        self.evidence = Evidence.INITIATION
        self.handshakes = 0
        self.judged = False
        self._conversations: tuple[Conversation, ...] = ()
        self._running: RunningTraffic | None = None
        self.contradiction = ""

    @property
    def tokens(self) -> int:
        """How many tokens it holds; grows with what is sent, up to a limit."""
        return len(self._conversations) + len(self._running or ())

    @property
    def payload_bytes(self) -> int:
        """Bytes of the packets it keeps for the second reader, handshakes alone."""
        return sum(
            len(heard.packet.payload)
            for conversation in self._conversations
            for heard in conversation.heard
        )

    @property
    def settled(self) -> Settled | None:
        """What is known of it if it is confirmed by running traffic, else None."""
        if self._running is None or self.evidence is not Evidence.CONFIRMED:
            return None
        until = self._announced + RENEWAL
        return Settled(until, self.last_seen, self._running.streams)

    def take(
        self,
        heard: Heard,
        now: float,
        gate: Gate | None,
        agree: Callable[[Sequence[Heard]], bool],
        *,
        by_low: bool,
    ) -> FlowChange:
        """Take a message in; `agree` is asked about what is about to confirm."""
        self.last_seen = now
        if self.contradiction:
            return FlowChange.NONE
        try:
            if heard.message.role is Role.TRAFFIC:
                confirmed = self._run(heard, now, gate, agree, by_low=by_low)
            else:
                confirmed = self._converse(heard, now, gate, agree, by_low=by_low)
        except Contradiction as found:
            return self._withdraw(str(found))
        return self._count(heard.message.role, now) if confirmed else FlowChange.NONE

    def _count(self, role: Role, now: float) -> FlowChange:
        if role in _CONTINUOUS:
            self.handshakes = max(self.handshakes, 1)
        else:
            self.handshakes += 1
        self.evidence = Evidence.CONFIRMED
        self._announced = now
        return FlowChange.CONFIRMED

    def _withdraw(self, why: str) -> FlowChange:
        held = self.evidence is Evidence.CONFIRMED
        self.contradiction = why
        self._conversations, self._running = (), None
        self.evidence = Evidence.INITIATION
        return FlowChange.WITHDRAWN if held else FlowChange.NONE

    def _renewable(self, now: float) -> bool:
        return now - self._announced >= RENEWAL

    def _silent(self, now: float) -> bool:
        """Whether a confirmation by what goes on for ever would say nothing new."""
        return self.evidence is Evidence.CONFIRMED and not self._renewable(now)

    def _run(
        self,
        heard: Heard,
        now: float,
        gate: Gate | None,
        agree: Callable[[Sequence[Heard]], bool],
        *,
        by_low: bool,
    ) -> bool:
        if self._running is None:
            self._running = RunningTraffic()
        self._running.take(heard, now, gate, by_low=by_low)
        if self._silent(now):  # asked first: it is nearly always so, and costs little
            return False
        evidence = self._running.evidence()
        if not evidence:
            return False
        low, high = self._running.crossing
        self._running.spend()
        if not agree(evidence):
            return False
        self.crossing = Crossing(low, high) if self.by_low else Crossing(high, low)
        return True

    def _converse(
        self,
        heard: Heard,
        now: float,
        gate: Gate | None,
        agree: Callable[[Sequence[Heard]], bool],
        *,
        by_low: bool,
    ) -> bool:
        if any(c.is_echoed_by(heard, by_low=by_low) for c in self._conversations):
            raise Contradiction(ECHO)
        waiting = [c for c in self._conversations if c.awaits(heard, by_low=by_low)]
        if not waiting and heard.message.role in OPENING:
            self._open(heard, now, gate, by_low=by_low)
        silent = heard.message.role in _CONTINUOUS and self._silent(now)
        confirmed = False
        for conversation in waiting:
            evidence = conversation.confirmed_by(heard, gate)
            if evidence is None or (not silent and not agree(evidence)):
                continue
            conversation.confirm()
            if confirmed or silent:
                continue
            confirmed = True
            if self.evidence is not Evidence.CONFIRMED:
                self.by_low = conversation.by_low
            self.crossing = self._turned(conversation)
        return confirmed

    def _turned(self, conversation: Conversation) -> Crossing:
        """A conversation's hooks, the flow's initiator first."""
        opener, answerer = conversation.crossing
        if conversation.by_low is self.by_low:
            return Crossing(opener, answerer)
        return Crossing(answerer, opener)

    def _open(
        self, heard: Heard, now: float, gate: Gate | None, *, by_low: bool
    ) -> None:
        """Open a conversation, or one again that was confirmed long enough ago."""
        new = Conversation(heard, gate, by_low=by_low)
        for known in self._conversations:
            if known.is_same(new):
                known.open_again(
                    heard, gate, by_low=by_low, renewable=self._renewable(now)
                )
                return
        self._conversations = (*self._conversations[1 - MOST_CONVERSATIONS :], new)
