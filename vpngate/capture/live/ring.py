# SPDX-License-Identifier: GPL-2.0-or-later
"""Receives the copies that the kernel's programs put into a ring.

Knows how a ring is read (`kernel/bpf/ringbuf.c`: eight bytes before each record say how
long it is, and whether it is whole) and what is lost there: `gap`, copies that found no
room, which shows at once and not with a later copy. Does not know the programs, nor
what the packets mean.
"""

import mmap
import struct
import threading
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from vpngate.capture.live.source import Captured, LiveCapture
from vpngate.packets import HookPoint, decode
from vpngate.ruleset.ring_records import A_WITNESS, RECORD, RECORD_HEADER

_BUSY, _DISCARDED, _LENGTH = 1 << 31, 1 << 30, (1 << 30) - 1
_HEAD, _ALIGNED = 8, 8  # bytes
_AT_ONCE = 4096  # records: then the event loop gets its turn


class SharedRing(NamedTuple):
    """A ring in this process's memory.

    descriptor  readable when records wait
    read        where is noted up to which it has been read
    there       up to which it has been written, and from the second page on its
                records, twice in a row
    size        bytes of records
    full        how many copies found no room, since the plane was started
    """

    descriptor: int
    read: mmap.mmap
    there: mmap.mmap
    size: int
    full: Callable[[], int]


class RingCapture(LiveCapture):
    """A ring of a data plane that has been started; a `PacketSource`."""

    def __init__(self, ring: SharedRing) -> None:
        super().__init__()
        self._ring = ring
        self._lost_before_us = ring.full()
        self._held = threading.Lock()  # by nobody else
        self._held.acquire()

    def fileno(self) -> int:
        """The ring, readable when records wait."""
        return self._ring.descriptor

    @property
    def losses(self) -> Mapping[str, int]:
        """Copies that found no room since the start."""
        return {"gap": self._ring.full() - self._lost_before_us}

    def receive(self) -> list[Captured]:
        """The packets that wait, at most some thousands; never blocks.

        First how far, then which of them are whole, and only then what is in them: in
        the reverse of the order in which the kernel writes.
        """
        ring, captured = self._ring, list[Captured]()
        (at,) = struct.unpack_from("=Q", ring.read, 0)
        (end,) = struct.unpack_from("=Q", ring.there, 0)
        self._keep_order()
        read, whole = self._whole(at, end)
        self._keep_order()
        for start, length in whole:
            self._take(ring.there[start : start + length], captured)
        self._keep_order()
        struct.pack_into("=Q", ring.read, 0, read)
        self.is_drained = read >= end
        return captured

    def _whole(self, at: int, end: int) -> tuple[int, list[tuple[int, int]]]:
        """Up to where records are whole, and the places of those to be taken."""
        ring, found = self._ring, list[tuple[int, int]]()
        for _ in range(_AT_ONCE):
            if at >= end:
                break
            start = mmap.PAGESIZE + at % ring.size
            (head,) = struct.unpack_from("=I", ring.there, start)
            if head & _BUSY:
                break
            length = head & _LENGTH
            if not head & _DISCARDED:
                found.append((start + _HEAD, length))
            at += -(-(_HEAD + length) // _ALIGNED) * _ALIGNED
        return at, found

    def _keep_order(self) -> None:
        """Have the processor do what comes next after what came before.

        Else those of arm64 may read ahead. To let a lock go waits for what is done
        already (a store-release), to take it holds up what follows (a load-acquire),
        and the second never overtakes the first.
        """
        self._held.release()
        self._held.acquire()

    def close(self) -> None:
        """Stop reading; the ring itself is the data plane's."""
        self._ring.read.close()
        self._ring.there.close()

    def _take(self, record: bytes, captured: list[Captured]) -> None:
        index, number, hook, _, _, size = struct.unpack_from(RECORD, record)
        if number == A_WITNESS:
            self.witnesses += 1
            return
        self.read += 1
        packet = decode(record[RECORD_HEADER : RECORD_HEADER + size])
        if packet is not None:
            captured.append(Captured(packet, HookPoint(hook), index, time.time()))
