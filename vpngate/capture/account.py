# SPDX-License-Identifier: GPL-2.0-or-later
"""What was heard on one flow, for a person who asks why it was judged as it was.

Knows which messages are worth keeping, and keeps few; does not judge (`state.py` does)
and does not know protocols. What was lacking is read out of it in
`missing_evidence.py`.
"""

from collections.abc import Sequence
from typing import NamedTuple

from vpngate.packets import Packet
from vpngate.recognition import Heard, Message, Tunnel
from vpngate.second_reading import Disagreement, Outcome

# Our own limits: the first messages of a flow and its last ones, and bytes of each.
_MOST_FIRST, _MOST_LAST = 3, 5
_MOST_KEPT = 2048
# What keeping a message takes beside its payload.
_NOTE_BYTES = 900


class Noted(NamedTuple):
    """A packet that was heard, and when.

    `message` is what the first reader made of it, None if it is no message. `seen` is
    None where that was not kept.
    """

    packet: Packet
    message: Message | None
    seen: float | None = None  # seconds


class Account:
    """What was heard on a flow of one tunnel.

    tunnel         whose messages they are
    evidence       the packets that confirmed the flow when it was first confirmed
    unmatched      what the second reader made of those that were about to, if it did
                   not agree
    outcome        of the last second reading
    contradiction  why the flow is not believed any more, else empty
    misfit         the packet that contradicted
    strays         packets that are no message of the tunnel, by the end that sent them:
                   how many from the lower one, how many from the higher
    stray          the first of them from the end that did not open
    """

    __slots__ = (
        "bytes_used",
        "contradiction",
        "evidence",
        "heard",
        "misfit",
        "outcome",
        "stray",
        "strays",
        "tunnel",
        "unmatched",
    )

    def __init__(self, tunnel: Tunnel) -> None:
        self.tunnel = tunnel
        self.heard: tuple[Noted, ...] = ()
        self.evidence: tuple[Noted, ...] = ()
        self.unmatched: Disagreement | None = None
        self.outcome: Outcome | None = None
        self.contradiction = ""
        self.misfit: Noted | None = None
        self.strays = [0, 0]
        self.stray: Noted | None = None
        self.bytes_used = 0

    def hear(self, heard: Heard, now: float) -> None:
        """Take a message in. What an end repeats is kept once."""
        packet, message = heard
        noted = Noted(_kept(packet), message, now)
        if any(_is_same(noted.packet, known.packet) for known in self.heard):
            return
        self.heard = (*self.heard, noted)
        if len(self.heard) > _MOST_FIRST + _MOST_LAST:
            self.heard = self.heard[:_MOST_FIRST] + self.heard[-_MOST_LAST:]
        self._weigh()

    def pass_by(self, packet: Packet, now: float) -> None:
        """Take in a packet that is no message of the tunnel."""
        by_high = packet.source != packet.flow.low
        self.strays[by_high] += 1
        opener = self.heard[0].packet.source if self.heard else None
        if self.stray or self.evidence or not packet.payload:
            return
        if packet.source != opener:
            self.stray = Noted(_kept(packet), None, now)
            self._weigh()

    def read_again(
        self, heard: Sequence[Heard], outcome: Outcome, found: Disagreement | None
    ) -> None:
        """Take in what the second reader made of what was about to confirm."""
        self.outcome = outcome
        self.unmatched = found
        if outcome is Outcome.AGREED and not self.evidence:
            self.evidence = tuple(self._noted(one) for one in heard)
            self._weigh()

    def contradict(self, why: str, heard: Heard, now: float) -> None:
        """Take in the packet that ended the belief in this flow; the first counts."""
        if not self.contradiction:
            self.contradiction = why
            self.misfit = Noted(_kept(heard.packet), heard.message, now)
            self._weigh()

    def _noted(self, heard: Heard) -> Noted:
        """Returns a message of a confirmation as it was heard, before any cut."""
        packet = heard.packet
        for noted in reversed(self.heard):
            if noted.message == heard.message and _is_same(noted.packet, packet):
                return noted
        return Noted(_kept(packet), heard.message)

    def _weigh(self) -> None:
        kept = (*self.heard, *self.evidence, self.misfit, self.stray)
        self.bytes_used = sum(
            _NOTE_BYTES + len(noted.packet.payload) for noted in kept if noted
        )


def _kept(packet: Packet) -> Packet:
    return packet._replace(payload=packet.payload[:_MOST_KEPT])


def _is_same(one: Packet, other: Packet) -> bool:
    """Whether both are the same packet, as far as each of them was kept."""
    size = min(len(one.payload), len(other.payload))
    return (
        one.source == other.source
        and one.length == other.length
        and one.payload[:size] == other.payload[:size]
    )
