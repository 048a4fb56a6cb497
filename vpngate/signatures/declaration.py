# SPDX-License-Identifier: GPL-2.0-or-later
"""The signature: what a single packet can show, as data.

Knows only comparisons that nftables, libpcap and Python can all make on one
packet; does not know any protocol, nor how its three compilers (`nft.py`,
`pcap.py`, `predicate.py` beside it) spell them. A property test holds the three
equal, and a live kernel with them.

A packet matches a signature when it is an unfragmented packet of `transport`,
one of its ports is in `ports` (any port if empty), and one of `shapes` fits.
TCP headers of 20 and 32 bytes are understood, others never match: kernels before
6.2 cannot compute where a TCP payload begins.
"""

from dataclasses import dataclass

from vpngate.packets import Transport


@dataclass(frozen=True, slots=True)
class Field:
    """Bytes at a fixed place of the payload: `payload[offset:] & mask == value`.

    `mask` of None compares every bit; `differs` turns the comparison around.
    """

    offset: int
    value: bytes
    mask: bytes | None = None
    differs: bool = False

    def __post_init__(self) -> None:
        if self.mask is not None:
            if len(self.mask) != len(self.value):
                raise ValueError("a mask is as long as its value")
            if any(v & ~m & 0xFF for v, m in zip(self.value, self.mask, strict=True)):
                raise ValueError("a value has no bits outside its mask")


@dataclass(frozen=True, slots=True)
class Shape:
    """One variant of a message: a payload of one of `lengths` in which `fields` hold.

    `lengths` are inclusive ranges of bytes, and apply to UDP alone (a TCP segment
    may hold more or less than a message); empty means any.
    """

    fields: tuple[Field, ...]
    lengths: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Signature:
    """One message of a protocol, in all its shapes.

    name       unique, [a-z0-9_]: names the rules and limits of this signature
    transport  the transport it travels on
    shapes     its variants; one is enough
    ports      either port has to be one of these; empty means any
    sampled    looks the same in every packet of a tunnel, so that the kernel copies
               only a few a pair of addresses, and none when an end is spared
    """

    name: str
    transport: Transport
    shapes: tuple[Shape, ...]
    ports: frozenset[int] = frozenset()
    sampled: bool = False
