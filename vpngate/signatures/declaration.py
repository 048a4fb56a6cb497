# SPDX-License-Identifier: GPL-2.0-or-later
"""The signature: what a single packet can show, as data.

Knows only comparisons that nftables, libpcap, Python and eBPF can all make on one
packet; does not know any protocol, nor how its compilers (`nft_conditions.py`,
`libpcap.py`, `predicate.py` beside it, `kernel/bpf/code/recognising.py`) spell them.
Property tests hold the four equal, and a live kernel with them.

A packet matches a signature when it is a packet of `transport`, whole or, if
`fragments`, the first fragment of one, one of its ports is in `ports` (any port if
empty), and one of `shapes` fits. Said exactly, in the terms of a kernel's netdev
hook:

- IPv4: version 4, header length ≥ 20, total length within the packet and not
  shorter than the header. IPv6: version 6, payload length within the packet;
  hop-by-hop, routing and destination options (RFC 8200) are passed over,
  authentication (RFC 4302) is not.
- A later fragment never matches. A first one, and any IPv6 packet with a fragment
  header of offset 0 (RFC 6946), matches only with `fragments`: as a rule a message
  of one of our tunnels fits a packet, and the half of one proves nothing.
- TCP headers have 20 to 60 bytes; what is said to be shorter never matches.
- The length of a UDP payload is what the UDP header says, less its own 8 bytes: in a
  first fragment, more than there is.
- For ESP and GRE the payload begins behind the IP headers, with their own header.
- A field that the packet is too short for does not hold, whether it compares or
  differs. Bytes behind the IP length (Ethernet's padding) are still bytes: none of
  the four looks, so a message is checked to the byte in user space.
"""

from dataclasses import dataclass

from vpngate.packets import Transport
from vpngate.signatures.headers import TCP_HEADERS, UDP_HEADER

# The kernel's own limits: a load starts at most 255 bytes behind the start of the
# transport header, which takes up to 60 of them, and fills one wide register.
MAX_OFFSET = 255 - max(TCP_HEADERS)
MAX_VALUE = 16
UDP_MAX_PAYLOAD = 0xFFFF - UDP_HEADER


@dataclass(frozen=True, slots=True)
class Field:
    """Bytes at a fixed place of the payload: `payload[offset:] & mask == value`.

    `mask` of None compares every bit; `differs` turns the comparison around.
    ValueError for what no compiler could express.
    """

    offset: int
    value: bytes
    mask: bytes | None = None
    differs: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.offset <= MAX_OFFSET:
            raise ValueError(f"a field starts at 0 to {MAX_OFFSET}")
        if not 1 <= len(self.value) <= MAX_VALUE:
            raise ValueError(f"a value has 1 to {MAX_VALUE} bytes")
        if self.mask is not None:
            if len(self.mask) != len(self.value):
                raise ValueError("a mask is as long as its value")
            if not self.mask[-1]:
                raise ValueError("a mask ends with a byte that it compares")
            if any(v & ~m & 0xFF for v, m in zip(self.value, self.mask, strict=True)):
                raise ValueError("a value has no bits outside its mask")

    @property
    def end(self) -> int:
        """The payload offset behind the field's last byte."""
        return self.offset + len(self.value)

    def holds(self, packet: bytes, start: int = 0) -> bool:
        """Whether it holds in a payload that begins at `packet[start]`."""
        start += self.offset
        found = packet[start : start + len(self.value)]
        if len(found) < len(self.value):
            return False
        if self.mask is None:
            return (found == self.value) is not self.differs
        masked = int.from_bytes(found) & int.from_bytes(self.mask)
        return (masked == int.from_bytes(self.value)) is not self.differs


@dataclass(frozen=True, slots=True)
class Shape:
    """One variant of a message: a payload of one of `lengths` in which `fields` hold.

    `lengths` are inclusive ranges of bytes, and apply to UDP alone (a TCP segment
    may hold more or less than a message); empty means any.
    """

    fields: tuple[Field, ...]
    lengths: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        if not self.fields and not self.lengths:
            raise ValueError("a shape compares something")
        for shortest, longest in self.lengths:
            if not 0 <= shortest <= longest <= UDP_MAX_PAYLOAD:
                raise ValueError(f"({shortest}, {longest}) is no range of UDP lengths")

    @property
    def udp_lengths(self) -> tuple[tuple[int, int], ...]:
        """`lengths` as a UDP header states them, its own bytes included."""
        return tuple((a + UDP_HEADER, b + UDP_HEADER) for a, b in self.lengths)


@dataclass(frozen=True, slots=True)
class Signature:
    """One message of a protocol, in all its shapes.

    name       unique, [a-z0-9_]: names the rules and limits of this signature
    transport  the transport it travels on
    shapes     its variants; one is enough
    ports      either port has to be one of these; empty means any
    sampled    looks the same in every packet of a tunnel, so that the kernel copies
               only a few a pair of addresses, and none when an end is spared
    fragments  UDP only: a first fragment is enough, since the message may be longer
               than a packet; no shape has an exact length then
    opens      holds the first message of a handshake: of a limited number of copies it
               gets more than what follows, which proves nothing without it
    """

    name: str
    transport: Transport
    shapes: tuple[Shape, ...]
    ports: frozenset[int] = frozenset()
    sampled: bool = False
    fragments: bool = False
    opens: bool = False

    def __post_init__(self) -> None:
        if not self.shapes:
            raise ValueError(f"{self.name}: a signature has a shape")
        if self.ports and not self.transport.has_ports:
            raise ValueError(f"{self.name}: {self.transport.label} has no ports")
        if self.transport is not Transport.UDP and any(s.lengths for s in self.shapes):
            raise ValueError(f"{self.name}: only UDP's lengths can be compared")
        if self.fragments:
            self._check_fragments()

    def _check_fragments(self) -> None:
        if self.transport is not Transport.UDP:
            raise ValueError(f"{self.name}: only UDP's fragments are told apart")
        lengths = {length for shape in self.shapes for length in shape.lengths}
        if any(shortest == longest for shortest, longest in lengths):
            raise ValueError(f"{self.name}: what has an exact length fits a packet")

    @property
    def port_ranges(self) -> tuple[tuple[int, int], ...]:
        """`ports` as inclusive ranges, sorted; adjacent ports in one range."""
        ranges: list[tuple[int, int]] = []
        for port in sorted(self.ports):
            if ranges and ranges[-1][1] == port - 1:
                ranges[-1] = (ranges[-1][0], port)
            else:
                ranges.append((port, port))
        return tuple(ranges)
