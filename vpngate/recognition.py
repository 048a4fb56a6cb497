# SPDX-License-Identifier: GPL-2.0-or-later
"""What a tunnel protocol declares, and what recognising it yields.

Knows the vocabulary that the tunnels (one file each) and the flow table share;
does not know any protocol, and holds no state.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Any, NamedTuple

from vpngate.packets import Endpoint, FlowKey, Packet
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
    TRAFFIC     looks the same in every packet (ESP, enhanced GRE): evidence lies in
                two advancing sequence numbers on one token in each direction
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
    # EXCHANGE only: whether it is the exchange's response, not its request; None where
    # the two look alike.
    answers: bool | None = None
    # A request whose form and port leave no doubt, so that `confirm = "one-way"` may
    # act on it alone.
    one_way: bool = False


class Heard(NamedTuple):
    """A packet, and what was made of it."""

    packet: Packet
    message: Message


class Dissection(NamedTuple):
    """A packet as the second reader sees it."""

    shown: Callable[[], Any]
    message: Message | None  # None: the fields are not what a message of ours has

    @property
    def layer(self) -> Any:
        """The scapy packet, for people to read: made when asked for."""
        return self.shown()


# A packet as scapy's classes dissect it, and the message that its fields amount to;
# None if they cannot even be laid over it. Never raises.
SecondReader = Callable[[Packet], Dissection | None]


def sees_nothing() -> SecondReader:
    """The second reader of a tunnel that declares none: nothing of it is confirmed."""
    return lambda _: None


@dataclass(frozen=True, eq=False)
class Tunnel:
    """A tunnel protocol: all that the rest of vpngate knows of it.

    There is one of each, so a tunnel equals itself alone.

    name        as users write it: `wireguard`
    signatures  what one packet can show; compiled for kernel, libpcap and Python
    read        a packet's message, or None if any checked byte is off
    covers      the flows that a verdict on this confirmed flow is for, itself first
    idle        seconds without a packet after which a verdict ends (180 to 600)
    second      loads scapy and gives the second reader: what it makes of a packet has
                to be what `read` does, and shares nothing with it
    """

    name: str
    signatures: tuple[Signature, ...]
    read: Callable[[Packet], Message | None]
    covers: Callable[[FlowKey], tuple[FlowKey, ...]]
    idle: int
    second: Callable[[], SecondReader] = sees_nothing


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
