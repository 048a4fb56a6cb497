# SPDX-License-Identifier: GPL-2.0-or-later
"""The control socket's place in the file system: bound there, and whose callers are.

Knows rights, a socket that a dead daemon left behind, and one of a live one; does not
know what is said on it.
"""

import contextlib
import errno
import grp
import os
import socket
import stat
import struct
from pathlib import Path

from vpngate.daemon.outside.callers import CONNECTION_LIMIT, URGENT_LIMIT
from vpngate.daemon.outside.handed_over import CallersListener
from vpngate.errors import Problem, Refused

GROUP = "vpngate"
MODE = 0o660


def peer_uid(connection: socket.socket) -> int:
    """Who is at the other end (unix(7), SO_PEERCRED: pid, uid, gid)."""
    credentials = struct.Struct("3i")
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, credentials.size)
    uid: int = credentials.unpack(raw)[1]
    return uid


def refuse_if_alive(path: Path) -> None:
    """Refused if somebody listens there, or what is there is no socket."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise Refused(Problem(str(path), "is not a socket", "choose another --socket"))
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(2.0)
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            return  # nobody listens: left behind
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise
            return
    raise Refused(
        Problem(str(path), "another daemon answers here", "stop it, or use --socket")
    )


def bind(path: Path) -> CallersListener:
    """A listening socket at `path`, never reachable with wider rights than MODE.

    It is made beside its place and moved there: the move replaces what a dead
    daemon left behind, and nobody sees the socket before its rights are set.
    """
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    made = path.with_name(f".{path.name}.{os.getpid()}")
    listener = CallersListener()
    try:
        with contextlib.suppress(FileNotFoundError):
            made.unlink()
        listener.bind(os.fspath(made))
        made.chmod(MODE)
        with contextlib.suppress(KeyError, PermissionError):
            # Without that group, or not as root: the owner alone, which is safe.
            os.chown(made, -1, grp.getgrnam(GROUP).gr_gid)
        listener.listen(CONNECTION_LIMIT + URGENT_LIMIT)
        made.rename(path)
    except OSError:
        listener.close()
        made.unlink(missing_ok=True)
        raise
    listener.setblocking(False)
    return listener
