# SPDX-License-Identifier: GPL-2.0-or-later
"""What a tunnel protocol declares, and what recognising it yields.

Knows the vocabulary that the tunnels (one file each) and the flow table share;
does not know any protocol, and holds no state.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import NamedTuple

from vpngate.packets import Endpoint, FlowKey, HookPoint, Packet
from vpngate.signatures import Signature


class Evidence(IntEnum):
    """How sure a flow's packets make us; only `CONFIRMED` is ever acted on."""

    INITIATION = 1
    CONFIRMED = 2

    @property
    def label(self) -> str:
        """As users read it."""
        return self.name.lower()


class Role(Enum):
    """A message's part in a conversation; the flow table pairs by it.

    INITIATION  opens a conversation and puts its token on the table
    RESPONSE    travels the other way and repeats that token; confirms, or, where
                the token cannot be read (`conclusive` is false), awaits a FOLLOW_UP
    FOLLOW_UP   the initiator's next message after a response; repeats its token
    EXCHANGE    names a token that both ends share, and either may speak first (IKEv1
                once both cookies are known); confirms when both have been heard
    TRAFFIC     looks the same in every packet (ESP): evidence lies in sequence numbers
                that advance in small steps, on one token in each direction
    """

    INITIATION = "initiation"
    RESPONSE = "response"
    FOLLOW_UP = "follow-up"
    EXCHANGE = "exchange"
    TRAFFIC = "traffic"


class Message(NamedTuple):
    """One packet, verified in every byte the specification fixes."""

    role: Role
    name: str  # the specification's word: "handshake initiation"
    token: bytes = (
        b""  # what ties the conversation together: an index, a session id, an SPI
    )
    conclusive: bool = True  # RESPONSE only: it named the initiation's token itself
    sequence: int = 0  # TRAFFIC only
    one_way: bool = False  # beyond doubt by itself, where its source address is


class Heard(NamedTuple):
    """A packet, and the message that it was read as."""

    packet: Packet
    message: Message


@dataclass(frozen=True, eq=False)
class Tunnel:
    """A tunnel protocol: all that the rest of vpngate knows of it.

    There is one of each, so a tunnel equals itself alone.

    name        as users write it: `wireguard`
    signatures  what one packet can show; compiled for kernel, libpcap and Python
    read        a packet's message, or None if any checked byte is off
    covers      the flows that a verdict on this confirmed flow is for, itself first
    idle        seconds without a packet after which a verdict ends (180 to 600)
    one_way     whether the first message alone is beyond doubt, so that
                `confirm = "one-way"` may act on it
    """

    name: str
    signatures: tuple[Signature, ...]
    read: Callable[[Packet], Message | None]
    covers: Callable[[FlowKey], tuple[FlowKey, ...]]
    idle: int
    one_way: bool = False


# Whether a second reader takes the packets that are about to confirm a flow for the
# same messages.
Agree = Callable[[Tunnel, Sequence[Heard]], bool]

# The hooks that packets of one end crossed; None stands for a place without hooks (a
# capture file, a mirror).
Hooks = frozenset[HookPoint | None]
_OPPOSITE = {None: None} | {point: point.opposite for point in HookPoint}


class Crossing(NamedTuple):
    """At which hooks the packets that are the evidence were seen, by their sender."""

    initiator: Hooks = frozenset()
    responder: Hooks = frozenset()

    @property
    def is_opposite(self) -> bool:
        """Whether what one end sent crossed just the hooks that the other's did not.

        A subscriber's packets come in and its answers go out. Between two subscribers
        both do both, and it takes all four: an answer that came in where the question
        has not gone out was sent by somebody else.
        """
        awaited = {_OPPOSITE[hook] for hook in self.initiator}
        return bool(awaited) and self.responder == awaited


class Sighting(NamedTuple):
    """What the flow table says when a flow's evidence appears, grows or is repeated."""

    tunnel: Tunnel
    flow: FlowKey
    initiator: Endpoint
    responder: Endpoint
    evidence: Evidence
    first_seen: float  # seconds, of the clock that the flow table was given
    handshakes: int  # confirmed; 1 where running traffic confirmed (ESP)
    repeated: bool = False  # the flow was confirmed before, and is again
    withdrawn: bool = False  # the flow was confirmed before, and is no longer
    one_way: bool = False  # its first message came in by ingress, and is beyond doubt
    crossing: Crossing = Crossing()
