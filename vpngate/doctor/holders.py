# SPDX-License-Identifier: GPL-2.0-or-later
"""Who holds a socket: from what the kernel lists to the process behind it.

Knows the lists under /proc and the control socket's other end; does not know whether
it matters. Everything is read in the namespace of the calling process.
"""

import contextlib
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_NETFILTER = 12  # NETLINK_NETFILTER
_LISTENING = "0A"  # TCP_LISTEN
_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid
_PATIENCE = 2.0  # seconds
_DAEMON = "vpngate"


@dataclass(frozen=True, slots=True)
class Holder:
    """A process; number 0 and no name if it cannot be told which."""

    process: int
    name: str

    @property
    def is_daemon(self) -> bool:
        """Whether its name is that of the daemon."""
        return self.name == _DAEMON

    def may_be(self, other: "Holder") -> bool:
        """Whether it can be the same process as another one."""
        return not self.process or self == other

    def __str__(self) -> str:
        if not self.process:
            return "a process that cannot be seen from here"
        return f"{self.name or 'process'} ({self.process})"


NOBODY_KNOWN = Holder(0, "")


def behind_socket(path: str) -> Holder | None:
    """Who listens on a socket of the file system; None if nobody answers there."""
    with socket.socket(socket.AF_UNIX) as caller:
        caller.settimeout(_PATIENCE)
        try:
            caller.connect(path)
        except PermissionError:
            return NOBODY_KNOWN
        except OSError:
            return None
        raw = caller.getsockopt(
            socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size
        )
    return _process(_CREDENTIALS.unpack(raw)[0])


def of_netlink_port(port: int) -> Holder:
    """Who has the netfilter netlink socket of that number."""
    for words in _rows("netlink"):
        if (int(words[1]), int(words[2])) == (_NETFILTER, port):
            return _with_socket(words[-1])
    return NOBODY_KNOWN


def of_group(group: int) -> Holder | None:
    """Who reads an NFLOG group; None if nobody does, or it may not be known."""
    for words in _rows("netfilter/nfnetlink_log", heading=False):
        if int(words[0]) == group:
            return of_netlink_port(int(words[1]))
    return None


def of_tcp_port(port: int) -> Holder:
    """Who listens on a TCP port, whatever the address."""
    for table in ("tcp", "tcp6"):
        for words in _rows(table):
            if words[3] == _LISTENING and int(words[1].rpartition(":")[2], 16) == port:
                return _with_socket(words[9])
    return NOBODY_KNOWN


def _rows(table: str, *, heading: bool = True) -> Iterator[list[str]]:
    """The rows of a list under /proc/net; none if it may not be read."""
    with contextlib.suppress(OSError):
        lines = (_PROC / "self" / "net" / table).read_text("ascii").splitlines()
        yield from map(str.split, lines[heading:])


def _with_socket(inode: str) -> Holder:
    """The process that has a socket open; of several the first."""
    wanted = f"socket:[{inode}]"
    for folder in sorted(_PROC.glob("[0-9]*"), key=lambda path: int(path.name)):
        with contextlib.suppress(OSError):
            for descriptor in (folder / "fd").iterdir():
                with contextlib.suppress(OSError):
                    if str(descriptor.readlink()) == wanted:
                        return _process(int(folder.name))
    return NOBODY_KNOWN


def _process(number: int) -> Holder:
    try:
        name = (_PROC / str(number) / "comm").read_text().strip()
    except OSError:
        name = ""
    return Holder(number, name)
