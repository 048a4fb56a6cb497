# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads a capture file's candidates: pcap, pcapng, gzip or not, also from a pipe.

Knows which reader serves which file, and says in one line what is wrong with one;
does not know what a candidate is. libpcap reads plain files itself, the fastest way
there is; what it cannot read (compressed files, pipes, pcapng files of which it makes
nothing) is walked here and each frame is handed to libpcap's filter.
"""

import gzip
import io
import os
import stat
import zlib
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from vpngate.capture.candidates import CandidateFilter
from vpngate.capture.files import pcap, pcapng
from vpngate.capture.files.record import CHUNK, Damage, Record, Test
from vpngate.capture.files.savefile import OneByOne, Savefile
from vpngate.capture.files.search import GZIP_MAGIC, is_capture
from vpngate.capture.files.several import Network, Networks, Several
from vpngate.errors import DamagedCapture, UnreadableInput
from vpngate.link_layers import is_understood, network_layer, network_reader
from vpngate.packets import Packet, decode


class Recorded(NamedTuple):
    """A packet out of a capture file."""

    packet: Packet
    timestamp: float  # seconds since the epoch; 0.0 where the file states none


class CaptureFile:
    """A capture file, to be iterated over once: its candidates, as packets.

    Iterating raises UnreadableInput if the file cannot be opened or is no capture,
    and, after all that could be read, DamagedCapture if it breaks early or
    UnreadableInput if frames of a link type that is not understood were left out.
    """

    def __init__(self, path: Path, candidates: CandidateFilter) -> None:
        self._path = path
        self._candidates = candidates
        self._foreign: set[int] = set()
        self._size = 0
        self._position: Callable[[], int] = int

    @property
    def fraction(self) -> float | None:
        """How much of the file has been read, 0 to 1; None if that is unknown.

        May be asked from another thread while the file is iterated over.
        """
        try:
            return min(1.0, self._position() / self._size) if self._size else None
        except (OSError, ValueError):  # closed meanwhile
            return None

    def __iter__(self) -> Iterator[Recorded]:
        for network, timestamp in self.networks():
            packet = decode(network)
            if packet is not None:
                yield Recorded(packet, timestamp)

    def networks(self) -> Iterator[Network]:
        """The candidates from their IP header on, with their seconds.

        Raises what iterating raises.
        """
        for several in self.batches():
            for network in map(several.network, range(len(several))):
                if network is not None:
                    yield network

    def batches(self) -> Iterator[Several]:
        """The same, as many at a time as come together."""
        try:
            yield from self._batches()
        except (Damage, EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DamagedCapture(
                f"{self._path}: damaged capture ({error}); "
                "what came before the damage counts"
            ) from error
        except OSError as error:
            raise UnreadableInput(
                f"{self._path}: {error.strerror or error}; give a capture file or a "
                "folder that can be read"
            ) from error
        if self._foreign:
            numbers = ", ".join(map(str, sorted(self._foreign)))
            raise UnreadableInput(
                f"{self._path}: frames of link type {numbers} were left out; "
                "capture on an Ethernet, PPP or IP interface"
            )

    def _batches(self) -> Iterator[Several]:
        with self._path.open("rb") as stream:
            status = os.fstat(stream.fileno())
            regular = stat.S_ISREG(status.st_mode)
            if regular:
                self._size = status.st_size
                self._position = stream.raw.tell
            head = stream.read(CHUNK)
            may_be_mixed = pcapng.is_pcapng(head)
            given = 0
            try:
                if regular and is_capture(head):
                    for found in self._read_by_libpcap(may_be_mixed=may_be_mixed):
                        given += len(found)
                        yield found
                    return
            except Damage:
                if not may_be_mixed:
                    raise
            yield from map(Several, islice(self._walked(head, stream), given, None))

    def _walked(self, head: bytes, stream: io.BufferedReader) -> Iterator[Network]:
        """What libpcap would give out, and what it cannot."""
        read: Callable[[int], bytes] = stream.read
        if head.startswith(GZIP_MAGIC):
            read = _Gunzipped(_Rejoined(head, stream)).read
            head = read(CHUNK)
        for link_type, timestamp, frame in self._walk(head, read):
            if network := network_layer(link_type, frame):
                yield network, timestamp

    def _walk(self, head: bytes, read: Callable[[int], bytes]) -> Iterator[Record]:
        if not is_capture(head):
            what = "neither pcap nor pcapng" if head else "empty"
            raise UnreadableInput(
                f"{self._path}: not a capture ({what}); "
                "give a file that tcpdump or Wireshark wrote"
            )
        format_ = pcap if pcap.is_pcap(head) else pcapng
        yield from format_.records(head, read, self._wanted)

    def _wanted(self, link_type: int) -> Test | None:
        if is_understood(link_type):
            return self._candidates.matcher(link_type)
        self._foreign.add(link_type)
        return None

    def _read_by_libpcap(self, *, may_be_mixed: bool) -> Iterator[Several]:
        """What is libpcap's to read; Damage where it gives up.

        A file that may be mixed is given up if its first link type is not understood.
        """
        opened = OneByOne if may_be_mixed else Savefile
        with opened(self._path) as savefile:
            link_type = savefile.link_type
            if not is_understood(link_type):
                if may_be_mixed:
                    raise Damage("others may be understood")
                self._foreign.add(link_type)
                return
            packed = self._candidates.packed(link_type)
            if packed is not None:
                savefile.set_filter(packed)
            before, self._position = self._position, savefile.position
            try:
                if isinstance(savefile, Savefile):
                    for batch in savefile.batches():
                        yield Networks(batch, link_type)
                    return
                behind_link = network_reader(link_type)
                for timestamp, frame in savefile:
                    if network := behind_link(frame):
                        yield Several((network, timestamp))
            finally:
                self._position = before


class _Rejoined(io.RawIOBase):
    """A stream with its first bytes, read before, put back: a pipe has no way back."""

    def __init__(self, head: bytes, stream: io.BufferedReader) -> None:
        super().__init__()
        self._head = head
        self._stream = stream

    def read(self, size: int = -1) -> bytes:
        """The next bytes, at most `size`."""
        if self._head:
            taken, self._head = self._head[:size], self._head[size:]
            return taken
        return self._stream.read(size)


class _Gunzipped:
    """The content of a gzip stream; what stands before damage is given out first."""

    def __init__(self, stream: io.RawIOBase) -> None:
        self._content = gzip.GzipFile(fileobj=stream)
        self._failure: Exception | None = None

    def read(self, size: int) -> bytes:
        """The next bytes, exactly `size` unless the stream ends or breaks."""
        parts: list[bytes] = []
        while size and self._failure is None:
            try:
                part = self._content.read1(size)
            except (EOFError, zlib.error, gzip.BadGzipFile) as failure:
                self._failure = failure
                break
            if not part:
                break
            parts.append(part)
            size -= len(part)
        if self._failure and not parts:
            raise self._failure
        return b"".join(parts)
