# SPDX-License-Identifier: GPL-2.0-or-later
"""Which bits stand for a flow, and flows whose bits are where a test wants them.

Says by itself how a key is mixed, so that what programs and daemon agree on is compared
with a third; does not know who sets a bit, nor who looks at it.
"""

import itertools
import struct
from collections.abc import Iterable
from random import Random
from typing import NamedTuple

from vpngate.kernel.bpf.plane_maps import FILTER_BITS, MIX
from vpngate.packets import Family, Transport

WORDS = 1 << (FILTER_BITS - 6)
_WHOLE = 1 << 64
_UNMIX = pow(MIX, -1, _WHOLE)
_MACS = bytes(12)


class Places(NamedTuple):
    """The number of a word, and of two bits in it."""

    word: int
    first: int
    second: int

    @property
    def bits(self) -> tuple[int, int]:
        """Both, counted from the table's beginning."""
        return self.word * 64 + self.first, self.word * 64 + self.second


def places_of(key: bytes) -> Places:
    digits = f"{_mixed(struct.unpack(f'<{len(key) // 8}Q', key)):064b}"
    behind = FILTER_BITS - 6
    ends = (0, behind, behind + 6, behind + 12)
    return Places(*(int(digits[a:b], 2) for a, b in itertools.pairwise(ends)))


def key_at(
    places: Places,
    rng: Random,
    family: Family = Family.IPV4,
    transport: Transport = Transport.UDP,
) -> bytes:
    """A flow of that transport there: its last address words are what it takes."""
    number = (places.word << 6 | places.first) << 6 | places.second
    mixed = (number << 58 - FILTER_BITS) + rng.getrandbits(58 - FILTER_BITS)
    known = [rng.getrandbits(64) for _ in range(2 * family.width // 8 - 1)]
    last = rng.getrandbits(32) | transport << 32
    wanted = (mixed * _UNMIX ^ last) * _UNMIX ^ _mixed(known)
    return struct.pack(f"<{len(known) + 2}Q", *known, wanted % _WHOLE, last)


def frame_of(family: Family, key: bytes) -> bytes:
    """A packet of that flow, with Ethernet's header, that is no handshake."""
    ends, ports, transport = key[:-8], key[-8:-4], key[-4]
    if transport == Transport.TCP:  # nothing but the header: an acknowledgment
        body = ports + bytes(8) + b"\x50\x10" + bytes(6)
    else:
        body = ports + struct.pack(">HH", 30, 0) + bytes(22)
    if family is Family.IPV4:
        head = struct.pack(">BxHHHBBH", 0x45, 20 + len(body), 0, 0, 64, transport, 0)
        return _MACS + b"\x08\x00" + head + ends + body
    head = struct.pack(">IHBB", 6 << 28, len(body), transport, 64)
    return _MACS + b"\x86\xdd" + head + ends + body


def _mixed(words: Iterable[int]) -> int:
    mixed = 0
    for word in words:
        mixed = (mixed ^ word) * MIX % _WHOLE
    return mixed
