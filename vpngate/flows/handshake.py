# SPDX-License-Identifier: GPL-2.0-or-later
"""Handshakes on one flow: what opens them, what answers, at which gates.

Knows roles, tokens and directions, the same for every tunnel: which message opens a
conversation, and which one closes it. Does not know protocols, running traffic, or
how long anything is kept.
"""

from enum import Enum
from typing import NamedTuple

from vpngate.recognition import Crossing, Gate, Gates, Heard, Role

# Our own limit: a flow remembers this many conversations (retransmissions that take a
# new index, simultaneous initiations, re-keying).
MOST_CONVERSATIONS = 4
LONGEST_TOKEN = 32  # bytes
_MOST_KEPT = 4096  # bytes of a packet: more than any message that we know needs


class _Stage(Enum):
    """How far a conversation has come."""

    OPENED = "opened"
    ANSWERED = "answered"  # by a message that cannot show whom it answers
    CONFIRMED = "confirmed"


class _Step(NamedTuple):
    """What a message does to a conversation of its flow.

    stages     where the conversation has to stand
    by_opener  whether the message has to come from the end that opened it
    by_token   whether it has to name the conversation's token
    leads_to   where the conversation stands then
    """

    stages: tuple[_Stage, ...]
    by_opener: bool
    by_token: bool
    leads_to: _Stage


# By role, and whether the message is conclusive.
_STEPS = {
    (Role.RESPONSE, True): _Step(
        stages=(_Stage.OPENED, _Stage.ANSWERED),
        by_opener=False,
        by_token=True,
        leads_to=_Stage.CONFIRMED,
    ),
    (Role.RESPONSE, False): _Step(
        stages=(_Stage.OPENED,),
        by_opener=False,
        by_token=False,
        leads_to=_Stage.ANSWERED,
    ),
    (Role.FOLLOW_UP, True): _Step(
        stages=(_Stage.ANSWERED,),
        by_opener=True,
        by_token=True,
        leads_to=_Stage.CONFIRMED,
    ),
    (Role.EXCHANGE, True): _Step(
        stages=(_Stage.OPENED,),
        by_opener=False,
        by_token=True,
        leads_to=_Stage.CONFIRMED,
    ),
}
OPENING = frozenset({Role.INITIATION, Role.EXCHANGE})


class Conversation:
    """An opening message, and how far it has come."""

    __slots__ = (
        "_by_both",
        "answered_at",
        "by_low",
        "heard",
        "opened_at",
        "stage",
        "token",
    )

    def __init__(self, opening: Heard, gate: Gate | None, *, by_low: bool) -> None:
        self.token = opening.message.token[:LONGEST_TOKEN]
        self._by_both = opening.message.role is Role.EXCHANGE
        self._begin(opening, gate, by_low=by_low)

    def _begin(self, opening: Heard, gate: Gate | None, *, by_low: bool) -> None:
        self.by_low = by_low  # whether the flow's lower end opened it
        self.stage = _Stage.OPENED
        # What the evidence will rest on.
        self.heard: tuple[Heard, ...] = (_kept(opening),)
        self.opened_at: Gates = frozenset({gate})
        self.answered_at: Gates = frozenset()

    def is_same(self, other: "Conversation") -> bool:
        """Whether an opening message belongs to this conversation.

        Where both ends name one token either of them may open.
        """
        return self.token == other.token and (
            self.by_low is other.by_low or self._by_both
        )

    def open_again(
        self, opening: Heard, gate: Gate | None, *, by_low: bool, renewable: bool
    ) -> None:
        """Take the same opening again: at another gate, sent again, or anew.

        What was confirmed opens anew once it is `renewable`.
        """
        if self.stage is _Stage.CONFIRMED:
            if renewable:
                self._begin(opening, gate, by_low=by_low)
        elif self.by_low is by_low:
            self.opened_at |= {gate}

    def is_echoed_by(self, heard: Heard, *, by_low: bool) -> bool:
        """Whether one end sends back what the other one sent, byte by byte."""
        payload = heard.packet.payload
        return (
            by_low is not self.by_low
            and bool(payload)
            and any(payload == one.packet.payload for one in self.heard)
        )

    def awaits(self, heard: Heard, *, by_low: bool) -> bool:
        """Whether the message is what this conversation waits for."""
        message = heard.message
        step = _STEPS.get((message.role, message.conclusive))
        return (
            step is not None
            and self.stage in step.stages
            and (self.by_low is by_low) is step.by_opener
            and (self.token == message.token[:LONGEST_TOKEN] or not step.by_token)
            and not self._is_alike(heard)
        )

    def _is_alike(self, heard: Heard) -> bool:
        """Whether both are requests of an exchange, or both are responses."""
        answers = self.heard[0].message.answers
        return answers is not None and answers == heard.message.answers

    def confirmed_by(self, heard: Heard, gate: Gate | None) -> tuple[Heard, ...] | None:
        """Take the message it waited for. Returns the conversation if that confirms it.

        An answer that was not seen at all hooks it should cross does not count yet: its
        copy from the other hook may come next.
        """
        message = heard.message
        step = _STEPS[message.role, message.conclusive]
        if step.by_opener:
            if gate not in self.opened_at:
                return None
        else:
            self.answered_at |= {gate}
            if not self.crossing.is_opposite:
                return None
        if step.leads_to is not _Stage.CONFIRMED:
            self.stage = step.leads_to
            self.heard = (*self.heard[:1], _kept(heard))
            return None
        return (*self.heard, heard)

    def confirm(self) -> None:
        """Note that it is confirmed; what that rests on is no longer needed."""
        self.stage = _Stage.CONFIRMED
        self.heard = ()

    @property
    def crossing(self) -> Crossing:
        """The hooks of who opened it, and of who answered."""
        return Crossing(self.opened_at, self.answered_at)


def _kept(heard: Heard) -> Heard:
    """What is kept of a message until it is read again."""
    packet = heard.packet
    if len(packet.payload) <= _MOST_KEPT:
        return heard
    return heard._replace(packet=packet._replace(payload=packet.payload[:_MOST_KEPT]))
