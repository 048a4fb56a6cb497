# SPDX-License-Identifier: GPL-2.0-or-later
"""Nothing left: of the disk, of descriptors, of memory, of a socket's buffer.

Knows how each is taken away from a running daemon and given back; does not know what
it does without.
"""

import contextlib
import ctypes
import json
import os
import resource
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

from tests.campaign.fault import Fault, Parameters
from tests.campaign.world import World
from vpngate.errors import VpngateError
from vpngate.stance import HaltReason, Observe

_FILLER = "filler"
_PIDFD_OPEN, _PIDFD_GETFD = 434, 438  # of asm-generic/unistd.h
_SO_RCVBUFFORCE = 33
_NETLINK = "/net/netlink"
_ROWS = 40_000
# Seconds for an answer: there may be nothing to give it with.
_SHORT, _LONG = 2.0, 30.0
_PAGE = os.sysconf("SC_PAGE_SIZE")

_libc = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def _disk_full(world: World, parameters: Parameters) -> Iterator[None]:
    """No room in the state folder, while a registry comes or the stance changes."""
    subject = world.subject
    filler = subject.state / _FILLER
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    try:
        if parameters["publish"]:
            subject.publisher.publish()
            world.reload()
        if parameters["observe"]:
            subject.order("observe")
            subject.follows(Observe())
            world.hold(not world.is_armed(), "observe waits for a full disk")
        yield
    finally:
        filler.unlink()
        subject.publisher.publish()
        refusal = world.reload()
        world.hold(not refusal, f"with room again: {refusal}")


@contextlib.contextmanager
def _limited(world: World, kind: int, soft: int) -> Iterator[None]:
    """A limit of the running daemon's, for the length of a with block."""
    pid = world.subject.process.pid
    before = resource.prlimit(pid, kind)
    resource.prlimit(pid, kind, (soft, before[1]))
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(pid, kind, before)


@contextlib.contextmanager
def _no_descriptors(world: World, parameters: Parameters) -> Iterator[None]:
    """None left, while many ask and a registry comes."""
    subject = world.subject
    taken = [int(one.name) for one in Path(f"/proc/{subject.process.pid}/fd").iterdir()]
    limit = max(taken) + 1 + parameters["left"]
    with contextlib.ExitStack() as stack:
        stack.enter_context(_limited(world, resource.RLIMIT_NOFILE, limit))

        def call() -> None:
            for _ in range(parameters["callers"]):
                one = stack.enter_context(socket.socket())
                one.settimeout(1.0)
                with contextlib.suppress(OSError):
                    one.connect(("127.0.0.1", 9753))
                    one.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")

        world.gateway.call(call)
        if parameters["reload"]:
            subject.publisher.publish()
            with contextlib.suppress(VpngateError):
                subject.order("reload", within=_SHORT)
        world.tunnel.shake_hands()
        yield
    subject.publisher.publish()


def _many(world: World) -> bytes:
    """A registry that takes room to read, and is refused in the end."""
    page = world.subject.publisher.page()
    page["registrations"] += [
        {
            "prefix": f"{16 + (n >> 16)}.{n >> 8 & 255}.{n & 255}.0/24",
            "registration": "R",
        }
        for n in range(_ROWS)
    ]
    return json.dumps(page).encode()


@contextlib.contextmanager
def _no_memory(world: World, parameters: Parameters) -> Iterator[None]:
    """Little more address space than it has, while it reads a large registry."""
    subject = world.subject
    pid = subject.process.pid
    has = int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * _PAGE
    subject.publisher.serial += 1
    subject.publisher.put(_many(world))
    with _limited(world, resource.RLIMIT_AS, has + (parameters["more"] << 20)):
        world.noted.append(world.reload(within=_LONG)[:120])
        with contextlib.suppress(VpngateError):
            subject.order("preview", within=_SHORT)
        yield
    subject.publisher.publish()
    if subject.is_up:
        refusal = world.reload()
        world.hold(not refusal, f"with memory again: {refusal}")


def _taken(pid: int, number: int) -> socket.socket:
    """The daemon's own socket, as a descriptor of ours (pidfd_getfd(2))."""
    holder = _libc.syscall(_PIDFD_OPEN, pid, 0)
    if holder < 0:
        raise OSError(ctypes.get_errno(), "pidfd_open")
    try:
        descriptor = _libc.syscall(_PIDFD_GETFD, holder, number, 0)
        if descriptor < 0:
            raise OSError(ctypes.get_errno(), "pidfd_getfd")
    finally:
        os.close(holder)
    return socket.socket(fileno=descriptor)


def _netlink_sockets(pid: int) -> Iterator[int]:
    """Descriptors of the daemon's sockets that the kernel speaks to it by."""
    table = Path(f"/proc/{pid}{_NETLINK}").read_text().splitlines()[1:]
    theirs = {f"socket:[{line.split()[-1]}]" for line in table}
    for one in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            if str(one.readlink()) in theirs:
                yield int(one.name)


def _resize(pid: int, sizes: dict[int, int]) -> dict[int, int]:
    """Set receive buffers by descriptor; what they were.

    Held no longer than that: a table goes with the last who has its socket.
    """
    before = {}
    for number, size in sizes.items():
        with contextlib.suppress(OSError), _taken(pid, number) as one:
            option = socket.SOL_SOCKET, socket.SO_RCVBUF
            before[number] = one.getsockopt(*option) // 2  # the kernel doubles it
            one.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, size)
    return before


@contextlib.contextmanager
def _small_buffers(world: World, parameters: Parameters) -> Iterator[None]:
    """What the kernel has to say does not fit: ENOBUFS, wherever it can be."""
    subject, pid = world.subject, world.subject.process.pid
    size: int = parameters["bytes"]
    sizes = dict.fromkeys(_netlink_sockets(pid), size)
    before = _resize(pid, sizes)
    asking = threading.Thread(target=world.reload)
    try:
        subject.publisher.publish()
        asking.start()
        for _ in range(parameters["links"]):
            world.gateway.ip(
                "link add lan8 type veth peer name peer8",
                "link set lan8 up",
                "link del lan8",
            )
        world.tunnel.shake_hands()
        yield
    finally:
        if subject.is_up:
            _resize(pid, before)
        asking.join()


FAULTS = (
    Fault(
        "disk full",
        _disk_full,
        lambda random: {
            "publish": random.random() < 0.8,
            "observe": random.random() < 0.3,
        },
        weight=2.5,
    ),
    Fault(
        "out of descriptors",
        _no_descriptors,
        lambda random: {
            "left": random.randint(0, 4),
            "callers": random.randint(0, 30),
            "reload": random.random() < 0.7,
        },
        weight=2.5,
        may_end=True,
    ),
    Fault(
        "out of memory",
        _no_memory,
        lambda random: {"more": random.choice([0, 1, 4, 8, 12, 16, 24, 40])},
        weight=2,
        may_end=True,
    ),
    Fault(
        "small buffers",
        _small_buffers,
        lambda random: {
            "bytes": random.choice([1, 4096, 16_384]),
            "links": random.randint(0, 10),
        },
        weight=2.5,
        may_halt=frozenset({HaltReason.CAPTURE_LOSS}),
    ),
)
