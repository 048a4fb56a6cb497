# SPDX-License-Identifier: GPL-2.0-or-later
"""The maps of one data plane: what its programs and the daemon share.

Knows how each is laid out, so that both read it alike; does not know what the programs
do with it, nor when the daemon writes there. Times are nanoseconds of the clock that
never jumps (CLOCK_MONOTONIC).
"""

from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

from vpngate.kernel.bpf.maps import Map, MapLayout, mapped_array
from vpngate.kernel.bpf.syscall import MapFlag, MapKind
from vpngate.packets import Direction, Family, HookPoint
from vpngate.ruleset import names, ring_records

# A flow's key: both addresses, source and destination port as they travel (0 without),
# and the transport, 4 bytes in the machine's order.
KEY_SIZES = {Family.IPV4: 16, Family.IPV6: 40}
# A verdict: class, device, seconds that it lives without a packet, 4 bytes free; until
# when it lives, 8 bytes.
VERDICT = "=IIIIQ"
CLASS_AT, DEVICE_AT, IDLE_AT, UNTIL_AT, VERDICT_SIZE = 0, 4, 8, 16, 24

# Two bits in one word of this many tell whether a flow may have a verdict at all. Of
# packets whose flow has none so many are looked up for nothing: both are others' bits.
#
#     verdicts of a direction     3,000    100,000    400,000    1,000,000
#     two bits in 2^21          0.010 %     1.06 %       11 %         38 %
#     one bit in 2^22            0.07 %      2.4 %        9 %         21 %
#
# 256 KiB a direction, kept small for a processor's cache; what is fetched is one word.
# From about 320,000 verdicts on, one bit in twice the memory would be right more often.
FILTER_BITS = 21
# A key is mixed eight bytes at a time: mixed = (mixed ^ these) * MIX. Of the product
# the upper bits are the good ones: they number the word, and behind that, six each,
# both bits, which may be the same.
MIX = 0x9E3779B97F4A7C15
WORD_BITS = 6  # that number a word's bits
FIRST_BIT_AT = 64 - FILTER_BITS  # where in it the number of the first ends
SECOND_BIT_AT = FIRST_BIT_AT - WORD_BITS

# What is counted, packets and bytes of each, 8 bytes.
RING_FULL = "ring_full"
COUNTED = (
    *map(names.traffic_counter, Direction),
    *map(names.throttled_counter, Direction),
    *map(names.spared_counter, Family),
    *map(names.witness, Family),
    names.REVERSE_PATH_FAILED,
    *names.HELD_BACK,
    RING_FULL,
)
COUNT_SIZE = 16


def count_at(name: str) -> int:
    """Where a counter is among them."""
    return COUNTED.index(name) * COUNT_SIZE


# Until when packets are slowed; until when no witness counts; when one was last told.
ARMED_AT, SETTLING_AT, TOLD_AT, TIMES_SIZE = 0, 8, 16, 24

# Limits on copies: when the next is due, nanoseconds between two, how much later than
# now the next may be due, 8 bytes each, by hook and signature.
DUE_AT, BETWEEN_AT, AHEAD_AT, LIMIT_SIZE = 0, 8, 16, 24
# So much is added to a time, so that what is taken off it for a burst never leads
# below nothing, however lately the machine was started.
LONG_AGO = 1 << 42
ADDRESSES = 32768  # that candidates lately came from, or went to
ADDRESS_SIZE = 12  # an address, or half of an IPv6 one, and its family
PAIRS = 65536
PAIR_SIZE = 40  # two addresses, a signature, 4 bytes free

# Packets on their way to a device: a few records, one a second and family. A claim
# (8 bytes, the second), the claim again once the rest is whole, the time, two
# addresses.
WAITING_RECORDS = 4
CLAIM_AT, WHOLE_AT, TIME_AT, ENDS_AT, WAITING_SIZE = 0, 8, 16, 24, 56


class Stage(IntEnum):
    """Programs that others go on at: they end with the daemon's last descriptor.

    All but the last by hook, and by whether packets have a link header.
    """

    THROTTLE = 0
    COPY = 4
    HOOK = 8  # where what stands at a hook may outlive the daemon
    WITNESS = 12


STAGES = Stage.WITNESS + 1


class Stand(NamedTuple):
    """Where a program meets packets: a hook, and the bytes before their IP header."""

    point: HookPoint
    link_header: int


def stage_at(stage: Stage, stand: Stand) -> int:
    """The number of one for packets that are met there."""
    return stage + 2 * stand.point + bool(stand.link_header)


class PlaneMaps:
    """All of them, but for the addresses that are spared (`spared_arrays.py`)."""

    def __init__(self, max_flows: int, signatures: int) -> None:
        self._made: list[Map] = []
        try:
            self._make_flows(max_flows)
            self._make_counts()
            self._make_limits(signatures)
            copies = MapLayout(MapKind.RING, 0, 0, ring_records.RING_SIZE)
            self.ring = self._make("copies", copies)
            # The only one whose other users do not keep it: programs go on at its
            # stages only as long as this process has it open.
            stages = MapLayout(MapKind.PROGRAM_ARRAY, 4, 4, STAGES)
            self.stages = self._make("stages", stages)
        except BaseException:
            self.close()
            raise

    def _make_flows(self, max_flows: int) -> None:
        """Verdicts, and what tells that a flow has none."""
        self.verdicts = {
            (direction, family): self._make(
                f"{direction}_{family.label}",
                MapLayout(
                    *(MapKind.HASH, KEY_SIZES[family], VERDICT_SIZE, max_flows),
                    MapFlag.NOTHING_AHEAD,
                ),
            )
            for direction in Direction
            for family in Family
        }
        self.filters = {
            one: self._mapped(f"{one}_bits", 1 << (FILTER_BITS - 3))
            for one in Direction
        }

    def _make_counts(self) -> None:
        """What is counted, when what ends, and what waits."""
        counted = MapLayout(MapKind.PER_CPU_ARRAY, 4, len(COUNTED) * COUNT_SIZE, 1)
        self.counters = self._make("counters", counted)
        self.times = self._mapped("times", TIMES_SIZE)
        records = WAITING_RECORDS * len(Family)
        self.waiting = self._mapped("waiting", WAITING_SIZE * records)

    def _make_limits(self, signatures: int) -> None:
        """Who has had how many copies: by kind, by address, by pair of these."""
        kinds = len(HookPoint) * max(1, signatures)
        self.limits = self._mapped("limits", LIMIT_SIZE * kinds)
        self.addresses = {
            (point, end): self._make(
                f"{point.name}_{end}".lower(),
                MapLayout(MapKind.LRU_HASH, ADDRESS_SIZE, 8, ADDRESSES),
            )
            for point in HookPoint
            for end in ("source", "destination")
        }
        pairs = MapLayout(MapKind.LRU_HASH, PAIR_SIZE, 8, PAIRS)
        self.pairs = self._make("pairs", pairs)

    def close(self) -> None:
        """Let go of all of them."""
        for one in reversed(self._made):
            one.close()
        self._made.clear()

    def _make(self, name: str, layout: MapLayout) -> Map:
        made = Map(name, layout)
        self._made.append(made)
        return made

    def _mapped(self, name: str, size: int) -> Map:
        made = mapped_array(name, -(-size // 8) * 8)
        self._made.append(made)
        return made


def waiting_at(family: Family, record: int) -> int:
    """Where a record of a packet on its way is."""
    number: Sequence[Family] = tuple(Family)
    return (number.index(family) * WAITING_RECORDS + record) * WAITING_SIZE
