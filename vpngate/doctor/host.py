# SPDX-License-Identifier: GPL-2.0-or-later
"""What this machine and the caller are like, read and not judged.

Knows where Linux tells of capabilities, folders, addresses to listen on, the clock and
modules; changes nothing, and does not know what is wanted.
"""

import ctypes
import errno
import os
import pwd
import socket
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

UNIT_USER = "vpngate"

_PROC = Path("/proc")
_MODULES = Path("/lib/modules")
_ANY_PORT = 1024  # the first that needs no privilege, unless the kernel is told so
_UNSYNCHRONISED = 0x40  # STA_UNSYNC
_BY_PORTS = "1"  # "Layer 4" (Documentation/networking/ip-sysctl.rst)
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: effective user and capabilities."""

    uid: int
    capabilities: int

    def has(self, capability: int) -> bool:
        """Whether a capability, by its number, is effective."""
        return bool(self.capabilities >> capability & 1)


@dataclass(frozen=True, slots=True)
class User:
    """Whom the daemon runs as, as far as can be told from here."""

    name: str
    uid: int
    groups: frozenset[int]
    is_caller: bool


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder: the nearest of it that exists, and whether a user may write there."""

    path: str
    nearest: str
    writable: bool

    @property
    def exists(self) -> bool:
        """Whether the folder itself is there."""
        return self.path == self.nearest


class _Timex(ctypes.Structure):
    """The first fields of struct timex, and room for the rest (adjtimex(2))."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("frequency", ctypes.c_long),
        ("maximum_error", ctypes.c_long),
        ("estimated_error", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * 256),
    )


def caller() -> Caller:
    """Who we are."""
    lines = (_PROC / "self" / "status").read_text().splitlines()
    effective = next(line.split()[1] for line in lines if line.startswith("CapEff:"))
    return Caller(os.geteuid(), int(effective, 16))


def user_of_unit(who: Caller) -> User:
    """The unit's own user if root asks and there is one, else the caller."""
    try:
        entry = pwd.getpwnam(UNIT_USER)
    except KeyError:
        entry = None
    if entry is None or who.uid != 0:
        groups = frozenset({os.getegid(), *os.getgroups()})
        return User(_name(who.uid), who.uid, groups, is_caller=True)
    listed = os.getgrouplist(entry.pw_name, entry.pw_gid)
    return User(entry.pw_name, entry.pw_uid, frozenset(listed), is_caller=False)


def folder(path: str, user: User) -> Folder:
    """Whether the user may make files there, or the folder itself."""
    nearest = Path(path)
    while True:
        try:
            found = nearest.stat()
        except OSError:
            if nearest == nearest.parent:
                return Folder(path, str(nearest), writable=False)
            nearest = nearest.parent
        else:
            break
    if user.is_caller:
        writable = os.access(nearest, os.W_OK | os.X_OK, effective_ids=True)
    else:
        writable = user.uid == 0 or _grants(found, user)
    directory = stat.S_ISDIR(found.st_mode)
    return Folder(path, str(nearest), writable=writable and directory)


def _grants(found: os.stat_result, user: User) -> bool:
    """Whether the mode lets the user write and enter; lists of access are not read."""
    wanted = stat.S_IWOTH | stat.S_IXOTH
    mode = found.st_mode
    if found.st_uid == user.uid:
        mode >>= 6
    elif found.st_gid in user.groups:
        mode >>= 3
    return mode & wanted == wanted


def may_listen(host: str, port: int) -> int:
    """What the kernel says to the address of a server: an errno, 0 if it may be.

    Nothing listens meanwhile: the address is only taken, and given back.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind((host, port))
        except OSError as error:
            return error.errno or errno.EINVAL
    return 0


def first_free_port() -> int:
    """The lowest port that everybody may listen on."""
    try:
        path = _PROC / "sys/net/ipv4/ip_unprivileged_port_start"
        return int(path.read_text())
    except (OSError, ValueError):
        return _ANY_PORT


def routed_by_ports() -> list[str]:
    """The parameters that have routes of several next hops chosen by ports."""
    found = []
    for family in ("ipv4", "ipv6"):
        name = f"net.{family}.fib_multipath_hash_policy"
        with suppress(OSError):  # a kernel without such routes
            chosen = (_PROC / "sys" / name.replace(".", "/")).read_text()
            if chosen.strip() == _BY_PORTS:
                found.append(name)
    return found


def is_clock_synchronised() -> bool | None:
    """Whether somebody keeps the clock right; None if the kernel does not say."""
    answer = _Timex()
    if _libc.adjtimex(ctypes.byref(answer)) < 0:
        return None
    return not answer.status & _UNSYNCHRONISED


def is_loadable(module: str) -> bool:
    """Whether a module is there and not loaded."""
    try:
        known = (_MODULES / os.uname().release / "modules.dep").read_text()
        loaded = (_PROC / "modules").read_text()
    except OSError:
        return False
    is_loaded = any(line.startswith(f"{module} ") for line in loaded.splitlines())
    return not is_loaded and f"/{module}.ko" in known


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
