# SPDX-License-Identifier: GPL-2.0-or-later
"""Packets from the network layer up: addresses, transports, flow keys.

Knows IPv4 (RFC 791), IPv6 with its extension headers (RFC 8200), UDP (RFC 768),
TCP (RFC 9293) headers, fragments and truncation; does not know link layers (see
`link_layers.py`) or what a payload means. Nothing here raises on bad bytes: what is
not a readable packet of a transport we follow is None.
"""

from enum import IntEnum, StrEnum
from ipaddress import ip_address
from struct import Struct
from typing import NamedTuple, cast

_PROTOCOLS = 1 << 8  # numbers in an IP header


class Family(IntEnum):
    """An address family, by its IP version."""

    IPV4 = 4
    IPV6 = 6

    @property
    def label(self) -> str:
        """The family as metrics and messages write it."""
        return self.name.lower()

    @property
    def width(self) -> int:
        """Bytes in an address."""
        return 4 if self is Family.IPV4 else 16


class Transport(IntEnum):
    """The transports that tunnels run on, by IP protocol number (IANA).

    `decode` knows these alone. A tunnel on one that has no name here declares it by
    its number, `Transport(115)`, and from then on it is known.
    """

    TCP = 6
    UDP = 17
    GRE = 47
    ESP = 50

    @classmethod
    def _missing_(cls, value: object) -> "Transport | None":
        if not isinstance(value, int) or not 0 <= value < _PROTOCOLS:
            return None
        declared = int.__new__(cls, value)
        declared._name_, declared._value_ = f"IP_{value}", value
        cls._value2member_map_[value] = declared
        return declared

    @property
    def label(self) -> str:
        """The transport as users read it."""
        return self.name.lower()

    @property
    def has_ports(self) -> bool:
        """Whether its header names ports."""
        return self in (Transport.TCP, Transport.UDP)


class Direction(StrEnum):
    """Which way a packet crosses the gateway, seen from the subscriber."""

    UPLOAD = "upload"
    DOWNLOAD = "download"


class HookPoint(IntEnum):
    """Where an interface's hook sees packets (enum nf_dev_hooks)."""

    INGRESS = 0  # as they come in by the interface
    EGRESS = 1  # as they go out by it

    @property
    def opposite(self) -> "HookPoint":
        """The other one."""
        return HookPoint(not self)


class Endpoint(NamedTuple):
    """One end of a flow. The address is in network byte order, 4 or 16 bytes."""

    address: bytes
    port: int  # 0 where the transport has none

    @property
    def family(self) -> Family:
        """The family of its address."""
        return Family.IPV4 if len(self.address) == Family.IPV4.width else Family.IPV6

    def __str__(self) -> str:
        text = format_address(self.address)
        if not self.port:
            return text
        return f"[{text}]:{self.port}" if ":" in text else f"{text}:{self.port}"


class FlowKey(NamedTuple):
    """A flow whichever way its packets travel: the lower end stands first."""

    transport: Transport
    low: Endpoint
    high: Endpoint

    @classmethod
    def of(cls, transport: Transport, one: Endpoint, other: Endpoint) -> "FlowKey":
        """The key of packets between two ends, in either order."""
        return cls(transport, *((one, other) if one <= other else (other, one)))

    @property
    def family(self) -> Family:
        """The family of both ends."""
        return self.low.family


class Packet(NamedTuple):
    """A packet of a transport we follow, with the payload its headers promise.

    For TCP and UDP the payload is what follows their header; for ESP and GRE it is
    everything behind the IP header (their own header included). `length` is the
    payload's length on the wire; a capture may hold fewer bytes of it.
    """

    transport: Transport
    source: Endpoint
    destination: Endpoint
    payload: bytes
    length: int

    @property
    def truncated(self) -> bool:
        """Whether bytes of the payload are missing here."""
        return len(self.payload) < self.length

    @property
    def flow(self) -> FlowKey:
        """The flow it belongs to."""
        return FlowKey.of(self.transport, self.source, self.destination)


# IP protocol numbers of IPv6 extension headers (RFC 8200 section 4).
_HOP_BY_HOP, _ROUTING, _FRAGMENT, _DESTINATION_OPTIONS = 0, 43, 44, 60
_OPTIONS_HEADERS = frozenset({_HOP_BY_HOP, _ROUTING, _DESTINATION_OPTIONS})

_IPV4 = Struct(">BxHxxHxBxx4s4s")  # version and IHL, total length, fragment, protocol
_IPV4_MIN = 20
_IPV4_MORE_FRAGMENTS = 0x2000
_IPV4_OFFSET = 0x1FFF

_IPV6 = Struct(">4xHBx16s16s")  # payload length, next header
_IPV6_HEADER = 40
_IPV6_FRAGMENT = Struct(">BxH4x")  # next header; offset, reserved bits, M flag
_IPV6_FRAGMENT_HEADER = 8
_IPV6_OFFSET = 0xFFF8
_JUMBO_OPTION, _JUMBO_LENGTH = 0xC2, 4  # RFC 2675 section 2
_PAD1 = 0

_UDP = Struct(">HHH")  # ports, length
_UDP_HEADER = 8
_TCP = Struct(">HH8xB")  # ports, data offset
_TCP_MIN = 20

_TRANSPORTS = cast("dict[int, Transport]", Transport._value2member_map_)


def decode(network: bytes) -> Packet | None:
    """The packet that starts at its IP header, or None if it is none we follow.

    Bytes behind what the IP header promises (Ethernet's padding) are cut off; bytes
    that it promises and a capture left out make the packet `truncated`. A length of
    zero, which segmentation offload writes, stands for all that is there.

    Of a fragmented datagram the first fragment is a packet, as truncated as it is
    (for ESP and GRE, whose headers state no length, its length is the fragment's);
    the later ones have no ports and are None. Only the outermost IP header counts.
    What stands behind an authentication header (RFC 4302) is not looked at.
    """
    if len(network) < _IPV4_MIN:
        return None
    version = network[0] >> 4
    if version == Family.IPV4:
        return _decode_ipv4(network)
    if version == Family.IPV6:
        return _decode_ipv6(network)
    return None


def _decode_ipv4(network: bytes) -> Packet | None:
    first, total, fragment, protocol, source, destination = _IPV4.unpack_from(network)
    transport = _TRANSPORTS.get(protocol)
    start = (first & 0x0F) * 4
    if transport is None or fragment & _IPV4_OFFSET or start < _IPV4_MIN:
        return None
    end = total or len(network)
    if end < start:
        return None
    whole = not fragment & _IPV4_MORE_FRAGMENTS
    return _decode_transport(
        transport, network, (start, end), (source, destination), whole=whole
    )


def _decode_ipv6(network: bytes) -> Packet | None:
    if len(network) < _IPV6_HEADER:
        return None
    length, header, source, destination = _IPV6.unpack_from(network)
    start, whole = _IPV6_HEADER, True
    end = start + length if length else _ipv6_end_without_length(network, header)
    while (transport := _TRANSPORTS.get(header)) is None:
        if start + _IPV6_FRAGMENT_HEADER > min(end, len(network)):
            return None
        if header in _OPTIONS_HEADERS:
            header, start = network[start], start + 8 + network[start + 1] * 8
        elif header == _FRAGMENT:
            header, fragment = _IPV6_FRAGMENT.unpack_from(network, start)
            if fragment & _IPV6_OFFSET:
                return None
            # Offset 0 without M is a whole datagram all the same (RFC 6946).
            whole = not fragment & 1
            start += _IPV6_FRAGMENT_HEADER
        else:
            return None
    return _decode_transport(
        transport, network, (start, end), (source, destination), whole=whole
    )


def _ipv6_end_without_length(network: bytes, header: int) -> int:
    """Where a packet of payload length zero ends: its jumbo option, or the capture."""
    at, stop = _IPV6_HEADER + 2, len(network)
    if header == _HOP_BY_HOP and stop > at:
        stop = min(stop, _IPV6_HEADER + 8 + network[_IPV6_HEADER + 1] * 8)
        while at + 1 < stop:
            option, length = network[at], network[at + 1]
            if option == _JUMBO_OPTION and length == _JUMBO_LENGTH and at + 6 <= stop:
                return _IPV6_HEADER + int.from_bytes(network[at + 2 : at + 6])
            at += 1 if option == _PAD1 else 2 + length
    return len(network)


def _decode_transport(
    transport: Transport,
    network: bytes,
    span: tuple[int, int],
    addresses: tuple[bytes, bytes],
    *,
    whole: bool,
) -> Packet | None:
    """The packet in `network[start:end]`; `end` may lie behind what is there.

    `whole` is false for a first fragment: its transport header may promise more
    than the fragment holds.
    """
    start, end = span
    if start > end:  # extension headers that reach beyond the packet's own end
        return None
    held = min(end, len(network))
    source_port = destination_port = 0
    if transport is Transport.UDP:
        if start + _UDP_HEADER > held:
            return None
        source_port, destination_port, length = _UDP.unpack_from(network, start)
        # Zero is a jumbogram (RFC 2675 section 4).
        stated = start + length if length else end
        start += _UDP_HEADER
        if stated < start or (whole and stated > end):
            return None
        held, end = min(held, stated), stated
    elif transport is Transport.TCP:
        if start + _TCP_MIN > held:
            return None
        source_port, destination_port, offset = _TCP.unpack_from(network, start)
        header = (offset >> 4) * 4
        start += header
        if header < _TCP_MIN or start > end:
            return None
    return Packet(
        transport,
        Endpoint(addresses[0], source_port),
        Endpoint(addresses[1], destination_port),
        network[start:held],
        end - start,
    )


def format_address(address: bytes) -> str:
    """An address as people write it (RFC 5952 for IPv6)."""
    return str(ip_address(address))


def parse_address(text: str) -> bytes:
    """The bytes of an address as people write it; ValueError if it is none."""
    return ip_address(text).packed
