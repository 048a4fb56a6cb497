# SPDX-License-Identifier: GPL-2.0-or-later
"""What is too large for a line of the control socket: memory files, handed over.

Knows how a file that nobody can change any more is made, sent beside a request
(unix(7), SCM_RIGHTS) and read; does not know what is in it. The daemon opens nothing
that a caller names, waits for nobody who writes, and reads no file that could shrink,
grow or change under its hands (fcntl(2), file sealing).
"""

import fcntl
import os
import socket
import stat
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from vpngate.accepting import PatientListener
from vpngate.daemon.outside.closing import close_soon
from vpngate.errors import Problem, WrongUse

if TYPE_CHECKING:
    from asyncio import StreamWriter

MOST_FILES = 2  # a request
# As many as can come with one message (unix(7)). What there is no room for the kernel
# closes itself, in the thread that receives.
_MOST_AT_ONCE = 253
# The descriptors that came with the request that is being handled.
FILES: ContextVar[Sequence[int]] = ContextVar("files", default=())
_SEALS = (
    fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
)
_PIECE = 1 << 20  # bytes
_DESCRIPTOR = struct.Struct("i")


def sealed(content: bytes) -> int:
    """A descriptor of a memory file that holds this and is never changed again."""
    descriptor = os.memfd_create("vpngate", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view[:_PIECE]) :]
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def content_of(descriptor: int, most: int, what: str) -> bytearray:
    """All that a sealed memory file holds; WrongUse, naming `what`, for anything else.

    `most` is how many bytes are taken.
    """
    status = os.fstat(descriptor)
    seals = 0
    with suppress(OSError):  # nothing else has any
        seals = fcntl.fcntl(descriptor, fcntl.F_GET_SEALS)
    if not stat.S_ISREG(status.st_mode) or seals & _SEALS != _SEALS:
        raise WrongUse(Problem(what, "is not a sealed memory file"))
    if status.st_size > most:
        raise WrongUse(Problem(what, f"has more than {most} bytes"))
    content = bytearray(status.st_size)
    view = memoryview(content)
    done = 0
    while done < len(view):
        read = os.preadv(descriptor, [view[done : done + _PIECE]], done)
        if not read:  # pragma: no cover - it cannot shrink
            raise WrongUse(Problem(what, "cannot be read"))
        done += read
    return content


class CallersLine(socket.socket):
    """A connection that keeps the descriptors which come with its bytes.

    They are to be closed by whoever takes them; what is never taken, or is more than
    `MOST_FILES`, is closed. Nobody waits for that, nor for what was never read.
    """

    def __init__(self, accepted: socket.socket) -> None:
        super().__init__(fileno=accepted.detach())
        self._waiting: list[int] = []

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Bytes as ever; what comes with them waits for `take`."""
        room = socket.CMSG_SPACE(_MOST_AT_ONCE * _DESCRIPTOR.size)
        flags |= socket.MSG_CMSG_CLOEXEC
        data, ancillary, _, _ = self.recvmsg(size, room, flags)
        for level, kind, body in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                whole = len(body) - len(body) % _DESCRIPTOR.size
                found = _DESCRIPTOR.iter_unpack(body[:whole])
                self._waiting += [number for (number,) in found]
        close_soon(self._waiting[MOST_FILES:])
        del self._waiting[MOST_FILES:]
        return data

    def take(self) -> list[int]:
        """The descriptors that have come since the last time, in order."""
        taken, self._waiting = self._waiting, []
        return taken

    def close(self) -> None:
        """Close it, with what waits."""
        close_soon(self.take())
        if self.fileno() >= 0:
            close_soon([self.detach()])


class CallersListener(PatientListener):
    """A listening socket whose connections keep what is handed over."""

    def __init__(self) -> None:
        super().__init__(socket.AF_UNIX)
        self._lines: WeakValueDictionary[int, CallersLine] = WeakValueDictionary()

    def accept(self) -> tuple[socket.socket, object]:
        """The next connection."""
        accepted, address = super().accept()
        line = CallersLine(accepted)
        self._lines[line.fileno()] = line
        return line, address

    @contextmanager
    def handed_over(self, writer: "StreamWriter") -> Iterator[None]:
        """Have `FILES` be what came with the latest request, open meanwhile."""
        line = self._lines.get(writer.get_extra_info("socket").fileno())
        files = [] if line is None else line.take()
        FILES.set(files)
        try:
            yield
        finally:
            FILES.set(())
            close_soon(files)
