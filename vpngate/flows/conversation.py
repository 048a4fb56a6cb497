# SPDX-License-Identifier: GPL-2.0-or-later
"""One flow's messages, and whether they amount to a tunnel.

Knows roles, tokens and directions, the same for every tunnel: which message opens a
conversation, and which one closes it. Does not know protocols, other flows, or
how long anything is kept.
"""

from enum import Enum
from typing import NamedTuple

from vpngate.recognition import Evidence, Message, Role

# Our own limits. A flow remembers this many conversations (retransmissions that take
# a new index, simultaneous initiations, re-keying) and twice as many sequences.
_MOST_CONVERSATIONS = 4
_MOST_SEQUENCES = 2 * _MOST_CONVERSATIONS
_LONGEST_TOKEN = 32  # bytes

# Seconds until what is sent again (an initiation that was answered, packets that look
# alike) confirms a flow again: often enough to bring an expired verdict back.
RENEWAL = 30

_SEQUENCE_SPACE = 1 << 32
_FARTHEST = 1 << 24  # two samples of one sequence are not farther apart


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
_OPENING = frozenset({Role.INITIATION, Role.EXCHANGE})
_CONTINUOUS = frozenset({Role.EXCHANGE, Role.TRAFFIC})

# The roles that a flow may begin with.
BEGINNING = _OPENING | {Role.TRAFFIC}


class _Conversation:
    """An opening message, and how far it has come."""

    __slots__ = ("by_low", "stage", "token")

    def __init__(self, token: bytes, *, by_low: bool) -> None:
        self.token = token
        self.by_low = by_low  # whether the flow's lower end opened it
        self.stage = _Stage.OPENED


class FlowState:
    """What is remembered of one flow of one tunnel.

    `by_low` says, here and in `take`, whether the flow's lower end is meant: as the
    initiator, and as a message's sender.
    """

    __slots__ = (
        "_conversations",
        "_heard",
        "_sequences",
        "announced",
        "by_low",
        "evidence",
        "first_seen",
        "handshakes",
        "last_seen",
    )

    def __init__(self, now: float, *, by_low: bool) -> None:
        self.first_seen = self.last_seen = self.announced = now
        self.by_low = by_low
        self.evidence = Evidence.INITIATION
        self.handshakes = 0
        self._conversations: tuple[_Conversation, ...] = ()
        # TRAFFIC alone: the last sequence number by direction and token, and the
        # directions in which one has advanced.
        self._sequences: dict[tuple[bool, bytes], int] | None = None
        self._heard: frozenset[bool] = frozenset()

    @property
    def tokens(self) -> int:
        """How many tokens it holds; grows with what is sent, up to a limit."""
        return len(self._conversations) + len(self._sequences or ())

    def take(self, message: Message, now: float, *, by_low: bool) -> bool:
        """Take a message in; whether there is confirmation to announce, old or new."""
        self.last_seen = now
        if message.role is Role.TRAFFIC:
            confirmed = self._advance(message, by_low=by_low)
        else:
            confirmed = self._converse(message, now, by_low=by_low)
        if not confirmed:
            return False
        known = self.evidence is Evidence.CONFIRMED
        if message.role in _CONTINUOUS:
            if known and not self._renewable(now):
                return False
            self.handshakes = max(self.handshakes, 1)
        else:
            self.handshakes += 1
        self.evidence = Evidence.CONFIRMED
        self.announced = now
        return True

    def _renewable(self, now: float) -> bool:
        return now - self.announced >= RENEWAL

    def _converse(self, message: Message, now: float, *, by_low: bool) -> bool:
        token = message.token[:_LONGEST_TOKEN]
        if message.role in _OPENING:
            self._open(token, now, by_low=by_low)
        step = _STEPS.get((message.role, message.conclusive))
        if step is None:
            return False
        fitting = [
            conversation
            for conversation in self._conversations
            if conversation.stage in step.stages
            and (conversation.by_low is by_low) is step.by_opener
            and (conversation.token == token or not step.by_token)
        ]
        for conversation in fitting:
            conversation.stage = step.leads_to
        confirmed = bool(fitting) and step.leads_to is _Stage.CONFIRMED
        if confirmed and self.evidence is not Evidence.CONFIRMED:
            self.by_low = fitting[0].by_low
        return confirmed

    def _open(self, token: bytes, now: float, *, by_low: bool) -> None:
        """Open a conversation, or one again that was confirmed long enough ago."""
        for conversation in self._conversations:
            if conversation.token == token:
                if conversation.stage is _Stage.CONFIRMED and self._renewable(now):
                    conversation.stage, conversation.by_low = _Stage.OPENED, by_low
                return
        self._conversations = (
            *self._conversations[1 - _MOST_CONVERSATIONS :],
            _Conversation(token, by_low=by_low),
        )

    def _advance(self, message: Message, *, by_low: bool) -> bool:
        """Whether both directions have now advanced since the last confirmation."""
        key = (by_low, message.token[:_LONGEST_TOKEN])
        if self._sequences is None:
            self._sequences = {}
        last = self._sequences.pop(key, None)
        self._sequences[key] = message.sequence
        if len(self._sequences) > _MOST_SEQUENCES:
            del self._sequences[next(iter(self._sequences))]
        if last is not None:
            step = (message.sequence - last) % _SEQUENCE_SPACE
            if 0 < step <= _FARTHEST:
                self._heard |= {by_low}
        if len(self._heard) < len((True, False)):
            return False
        self._heard = frozenset()
        return True
