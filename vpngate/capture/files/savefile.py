# SPDX-License-Identifier: GPL-2.0-or-later
"""Capture files read and filtered by libpcap alone, a batch of frames at a time.

Knows libpcap's functions for saved files (pcap(3PCAP)) and how they are called; does
not know what a filter looks for. cypcap opens such files, too, but leaves libpcap with
the C library's buffer of 4 KiB, and comes back for each frame: both take longer than
what becomes of an ordinary packet. Here the file is asked for in large pieces, and what
passes is dumped into memory, as `pcap_dump` does it, with no line of Python between.
"""

import ctypes
import os
from collections.abc import Iterator
from functools import cache
from mmap import mmap
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import cypcap
from cypcap import _cypcap

from vpngate.capture.classic_bpf import unpacked
from vpngate.capture.files.batch import DumpedFrames
from vpngate.capture.files.record import Damage
from vpngate.errors import MissingFeature

# Our own limits.
# Bytes asked for at a time: what a core keeps near it. They begin with a page, as what
# the kernel copies does; 16 bytes on, where allocators begin, it copies a third slower.
_BUFFER = 256 << 10
_BATCH = 1 << 20  # bytes that frames are dumped into, and what the last ones are over
_AT_ONCE = 64  # frames, which may be as long as the file says

_FULLY_BUFFERED = 0  # _IOFBF
_BY_CALLER = 2  # FSETLOCKING_BYCALLER: one thread reads, which needs no lock
_ERROR_TEXT = 256  # PCAP_ERRBUF_SIZE
_INSTRUCTION = 8  # bytes of a struct bpf_insn
_FILE_HEADER = 24  # bytes that a dump begins with
_ANY_LINK_TYPE, _ANY_LENGTH = 1, 65535  # of a dump that nobody else reads

_POINTER, _TEXT, _INT, _SIZE = (
    ctypes.c_void_p,
    ctypes.c_char_p,
    ctypes.c_int,
    ctypes.c_size_t,
)


class _Program(ctypes.Structure):
    """struct bpf_program."""

    _fields_ = (("length", ctypes.c_uint), ("instructions", _TEXT))


_LIBPCAP: tuple[tuple[Any, ...], ...] = (
    ("pcap_fopen_offline", _POINTER, _POINTER, _TEXT),
    ("pcap_datalink", _INT, _POINTER),
    ("pcap_setfilter", _INT, _POINTER, ctypes.POINTER(_Program)),
    ("pcap_open_dead", _POINTER, _INT, _INT),
    ("pcap_dump_fopen", _POINTER, _POINTER, _POINTER),
    ("pcap_dispatch", _INT, _POINTER, _INT, _POINTER, _POINTER),
    ("pcap_dump_flush", _INT, _POINTER),
    ("pcap_dump_close", None, _POINTER),
    ("pcap_geterr", _TEXT, _POINTER),
    ("pcap_close", None, _POINTER),
)
_LIBC: tuple[tuple[Any, ...], ...] = (
    ("fdopen", _POINTER, _INT, _TEXT),
    ("setvbuf", _INT, _POINTER, _POINTER, _INT, _SIZE),
    ("__fsetlocking", _INT, _POINTER, _INT),
    ("open_memstream", _POINTER, _POINTER, _POINTER),
    ("rewind", None, _POINTER),
    ("fclose", _INT, _POINTER),
    ("free", None, _POINTER),
)


@cache
def _libraries() -> tuple[ctypes.CDLL, ctypes.CDLL]:
    """The libpcap that cypcap is linked to, and the C library."""
    libraries = ctypes.CDLL(_cypcap.__file__), ctypes.CDLL(None)
    try:
        for library, functions in zip(libraries, (_LIBPCAP, _LIBC), strict=True):
            for name, result, *arguments in functions:
                function = getattr(library, name)
                function.restype, function.argtypes = result, arguments
    except AttributeError as error:
        raise MissingFeature(
            f"libpcap: {error}; install the version of cypcap that vpngate asks for"
        ) from error
    return libraries


def _never_lock(libc: ctypes.CDLL, stream: int) -> None:
    """Two locks a frame are a thirtieth of the time that libpcap takes."""
    libc.__fsetlocking(stream, _BY_CALLER)  # noqa: SLF001 - that is its name


def _whole(dumped: bytes, at: int, least: int) -> DumpedFrames:
    """The frames of a dump; MemoryError if there was no room, which libpcap hides."""
    frames = DumpedFrames(dumped, at)
    if not frames.are_whole or len(frames) < least:
        raise MemoryError
    return frames


class Savefile:
    """A capture file, opened by libpcap; a context, to be iterated over once in it.

    Iterating gives the frames that pass the filter, with their seconds since the epoch.
    Raises Damage, in libpcap's words, where it cannot go on, after what it could read.
    Seconds are kept in 32 bits, which is what pcap files have.
    """

    def __init__(self, path: Path) -> None:
        """OSError if the file cannot be opened; Damage if its header is rejected."""
        self._pcap, self._libc = _libraries()
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        stream = self._libc.fdopen(self._descriptor, b"rb")
        if not stream:
            os.close(self._descriptor)
            raise MemoryError
        # The C library does not take one of another size than it likes, but ours.
        self._buffer = (ctypes.c_char * _BUFFER).from_buffer(mmap(-1, _BUFFER))
        self._libc.setvbuf(stream, self._buffer, _FULLY_BUFFERED, _BUFFER)
        _never_lock(self._libc, stream)
        reason = ctypes.create_string_buffer(_ERROR_TEXT)
        self._handle: int | None = self._pcap.pcap_fopen_offline(stream, reason)
        if not self._handle:
            self._libc.fclose(stream)
            raise Damage(reason.value.decode(errors="replace"))
        self.link_type: int = self._pcap.pcap_datalink(self._handle)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            self._pcap.pcap_close(handle)

    def position(self) -> int:
        """How much libpcap has asked for, bytes; OSError once the file is closed.

        May be asked from another thread.
        """
        return os.lseek(self._descriptor, 0, os.SEEK_CUR)

    def set_filter(self, packed: bytes) -> None:
        """Pass only what a program passes (bpf(4)); ValueError if it is none."""
        handle = self._opened()
        filter_ = _Program(len(packed) // _INSTRUCTION, packed)
        if self._pcap.pcap_setfilter(handle, ctypes.byref(filter_)):
            raise ValueError(self._error())

    def __iter__(self) -> Iterator[tuple[float, bytes]]:
        for batch in self.batches():
            yield from map(batch.frame, range(len(batch)))

    def batches(self) -> Iterator[DumpedFrames]:
        """The same, many at a time."""
        handle = self._opened()
        start, size = _POINTER(), _SIZE()
        memory = self._libc.open_memstream(ctypes.byref(start), ctypes.byref(size))
        if memory:
            _never_lock(self._libc, memory)
        # The file's own may be of a link type that libpcap reads, but does not write.
        shape = self._pcap.pcap_open_dead(_ANY_LINK_TYPE, _ANY_LENGTH)
        dumper = memory and shape and self._pcap.pcap_dump_fopen(shape, memory)
        if not dumper:
            raise MemoryError
        write = ctypes.cast(self._pcap.pcap_dump, _POINTER)
        at, passed, dumped = _FILE_HEADER, 1, 0
        try:
            while passed > 0:
                passed = self._pcap.pcap_dispatch(handle, _AT_ONCE, write, dumper)
                self._pcap.pcap_dump_flush(dumper)
                dumped += max(0, passed)
                if passed > 0 and size.value < _BATCH:
                    continue
                yield _whole(ctypes.string_at(start.value or 0, size.value), at, dumped)
                self._opened()  # still
                self._libc.rewind(memory)
                at = size.value = dumped = 0
        finally:
            self._pcap.pcap_dump_close(dumper)
            self._pcap.pcap_close(shape)
            self._libc.free(start)
        if passed < 0:
            raise Damage(self._error())

    def _opened(self) -> int:
        """What libpcap has to be called with: nothing else, or the process ends."""
        if self._handle is None:
            raise ValueError("the file is closed")
        return self._handle

    def _error(self) -> str:
        text: bytes = self._pcap.pcap_geterr(self._opened())
        return text.decode(errors="replace")


class OneByOne:
    """The same, a frame at a time: for times that do not fit into 32 bits."""

    def __init__(self, path: Path) -> None:
        """Damage if libpcap rejects the header."""
        # An absolute path, since libpcap takes "-" for the standard input.
        try:
            self._reader = cypcap.open_offline(path.absolute())
        except cypcap.Error as error:
            raise Damage(error.msg) from error
        self.link_type = int(self._reader.datalink())
        self._descriptor = self._reader.get_selectable_fd()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._reader.close()

    def position(self) -> int:
        """As there."""
        return os.lseek(self._descriptor, 0, os.SEEK_CUR)

    def set_filter(self, packed: bytes) -> None:
        """As there."""
        self._reader.setfilter(cypcap.BpfProgram(unpacked(packed)))

    def __iter__(self) -> Iterator[tuple[float, bytes]]:
        try:
            for header, frame in self._reader:
                yield header.ts, frame
        except cypcap.Error as error:
            raise Damage(error.msg) from error
