# SPDX-License-Identifier: GPL-2.0-or-later
"""A ring of copies in memory, as the kernel leaves it for whoever reads."""

import mmap
import struct
from collections.abc import Iterator

import pytest

from vpngate.capture.live.ring import RingCapture, SharedRing
from vpngate.ruleset.ring_records import A_WITNESS, RECORD, RECORD_HEADER

SIZE = 4096
BUSY, DISCARDED = 1 << 31, 1 << 30
_IPV4 = bytes.fromhex("4500001c00000000401100000a0000010a000002") + bytes(8)


class Written:
    """A ring, and records that are put there one behind the other."""

    def __init__(self) -> None:
        self.read = mmap.mmap(-1, mmap.PAGESIZE)
        self.there = mmap.mmap(-1, mmap.PAGESIZE + 2 * SIZE)
        self.at = 0
        shared = SharedRing(-1, self.read, self.there, SIZE, lambda: 0)
        self.capture = RingCapture(shared)

    def put(self, number: int = 0, flags: int = 0) -> int:
        """Where its header is; of that signature, or a witness'."""
        head = struct.pack(RECORD, 5, number, 1, 8, len(_IPV4), len(_IPV4))
        record = head.ljust(RECORD_HEADER, b"\0") + _IPV4
        place = self.at % SIZE
        for twice in (place, place + SIZE):
            start = mmap.PAGESIZE + twice
            whole = struct.pack("=II", len(record) | flags, 0) + record
            room = max(0, min(len(whole), len(self.there) - start))
            self.there[start : start + room] = whole[:room]
        self.at += -(-(8 + len(record)) // 8) * 8
        struct.pack_into("=Q", self.there, 0, self.at)
        return mmap.PAGESIZE + place

    @property
    def up_to(self) -> int:
        (value,) = struct.unpack_from("=Q", self.read, 0)
        return int(value)


@pytest.fixture
def ring() -> Iterator[Written]:
    made = Written()
    yield made
    made.capture.close()


def test_what_is_whole_is_read_once(ring: Written) -> None:
    ring.put()
    ring.put(flags=DISCARDED)
    ring.put(A_WITNESS)
    ring.put()
    assert [one.ifindex for one in ring.capture.receive()] == [5, 5]
    assert ring.capture.witnesses == 1
    assert ring.up_to == ring.at
    assert ring.capture.receive() == []


def test_one_that_is_still_written_is_waited_for_and_those_behind_it(
    ring: Written,
) -> None:
    ring.put()
    place = ring.put(flags=BUSY)
    ring.put()
    assert len(ring.capture.receive()) == 1
    assert not ring.capture.is_drained
    (head,) = struct.unpack_from("=I", ring.there, place)
    struct.pack_into("=I", ring.there, place, head & ~BUSY)
    assert len(ring.capture.receive()) == 2
    assert ring.capture.is_drained


def test_again_and_again_around_the_end(ring: Written) -> None:
    for _ in range(500):
        ring.put()
        assert len(ring.capture.receive()) == 1


def test_nothing_is_read_ahead_of_what_tells_that_it_is_there(
    ring: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes between the steps is left to the next time, and none overtakes."""
    order = list[int]()

    def kept() -> None:
        order.append(ring.up_to)
        ring.put()

    monkeypatch.setattr(ring.capture, "_keep_order", kept)
    ring.put()
    assert len(ring.capture.receive()) == 1
    assert order == [0, 0, 0]  # room is given back last of all
    assert len(ring.capture.receive()) == 3
