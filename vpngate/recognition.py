# SPDX-License-Identifier: GPL-2.0-or-later
"""What a tunnel protocol declares, and what recognising it yields.

Knows the vocabulary that the tunnels (one file each) and the flow table share;
does not know any protocol, and holds no state.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Any, NamedTuple

from vpngate.packets import Endpoint, FlowKey, HookPoint, Packet, Transport
from vpngate.signatures import Field, Signature


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
    EXCHANGE    names a token that both ends share, and either may speak first (IKE
                once both SPIs are known); confirms when both have been heard
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
    # EXCHANGE only: whether it is the exchange's response, not its request; None where
    # the two look alike.
    answers: bool | None = None
    # A request whose form and port leave no doubt, so that `confirm = "one-way"` may
    # act on it alone.
    one_way: bool = False


class Heard(NamedTuple):
    """A packet, and what the first reader made of it."""

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


@dataclass(frozen=True, slots=True)
class Carrier:
    """A transport that a tunnel's packets travel on, and what is said of them there.

    `fields` are constant bytes behind the IP header, where the transport has no ports
    to tell a tunnel's packets from others between the same ends. The kernel compares
    them before it looks for a verdict.
    """

    transport: Transport
    fields: tuple[Field, ...] = ()

    def __post_init__(self) -> None:
        if self.fields and self.transport.has_ports:
            raise ValueError(f"{self.transport.label}: ports tell its flows apart")


@dataclass(frozen=True, eq=False)
class Tunnel:
    """A tunnel protocol: all that the rest of vpngate knows of it.

    There is one of each, so a tunnel equals itself alone.

    name        as users write it: `wireguard`
    signatures  what one packet can show; compiled for kernel, libpcap and Python
    read        a packet's message, or None if any checked byte is off
    covers      the flows that a verdict on this confirmed flow is for, itself first
    carriers    what those flows travel on
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
    carriers: tuple[Carrier, ...] = ()


# Whether a second reader takes the packets that are about to confirm a flow for the
# same messages.
Agree = Callable[[Tunnel, Sequence[Heard]], bool]


class Gate(NamedTuple):
    """Where a packet crossed an interface of ours.

    `interface` is its index, or 0 where it does not matter by which one it came: where
    the way back to its source is checked.
    """

    point: HookPoint
    interface: int = 0

    @property
    def opposite(self) -> "Gate":
        """The same interface the other way."""
        return Gate(self.point.opposite, self.interface)


# What packets of one end crossed; None stands for a place without hooks (a capture
# file, a mirror).
Gates = frozenset[Gate | None]


class Crossing(NamedTuple):
    """Where the packets that are the evidence were seen, by their sender."""

    initiator: Gates = frozenset()
    responder: Gates = frozenset()

    @property
    def is_opposite(self) -> bool:
        """Whether what one end sent crossed the gates that the other's did, turned.

        A subscriber's packets come in, and its answers go out where it lives. Between
        two subscribers both do both, and it takes all four: an answer that came in
        where the question has not gone out was sent by somebody else.
        """
        awaited = {gate and gate.opposite for gate in self.initiator}
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
