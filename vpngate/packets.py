# SPDX-License-Identifier: GPL-2.0-or-later
"""Packets from the network layer up: addresses, transports, flow keys.

Knows IPv4 (RFC 791), IPv6 with its extension headers (RFC 8200), UDP (RFC 768),
TCP (RFC 9293) headers, fragments and truncation; does not know link layers (see
`links.py`) or what a payload means. Nothing here raises on bad bytes: what is
not a readable packet of a transport we follow is None.
"""

from enum import IntEnum, StrEnum
from ipaddress import ip_address
from typing import NamedTuple


class Family(IntEnum):
    """An address family, by its IP version."""

    IPV4 = 4
    IPV6 = 6

    @property
    def label(self) -> str:
        return self.name.lower()

    @property
    def width(self) -> int:
        """Bytes in an address."""
        return 4 if self is Family.IPV4 else 16


class Transport(IntEnum):
    """The transports a tunnel can run on, by IP protocol number (IANA)."""

    TCP = 6
    UDP = 17
    GRE = 47
    ESP = 50

    @property
    def label(self) -> str:
        return self.name.lower()

    @property
    def has_ports(self) -> bool:
        return self in (Transport.TCP, Transport.UDP)


class Direction(StrEnum):
    """Which way a packet crosses the gateway, seen from the subscriber."""

    UPLOAD = "upload"
    DOWNLOAD = "download"


class Endpoint(NamedTuple):
    """One end of a flow. The address is in network byte order, 4 or 16 bytes."""

    address: bytes
    port: int  # 0 where the transport has none

    @property
    def family(self) -> Family:
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
        return cls(transport, *((one, other) if one <= other else (other, one)))

    @property
    def family(self) -> Family:
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
        return len(self.payload) < self.length

    @property
    def flow(self) -> FlowKey:
        return FlowKey.of(self.transport, self.source, self.destination)


def format_address(address: bytes) -> str:
    """An address as people write it (RFC 5952 for IPv6)."""
    return str(ip_address(address))


def parse_address(text: str) -> bytes:
    """The bytes of an address as people write it; ValueError if it is none."""
    return ip_address(text).packed
