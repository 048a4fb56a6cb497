# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs of eBPF see real packets as the predicate does, however they lie in memory.

    namespace of each test
      packet socket ──► va ══ vb: ingress
      packet socket ──► vb: egress
      tap0, whose frames come in any number of pieces: ingress
      tap0 ──► redirected to vb: egress            the same, on the way out
      tun0: ingress, and by a packet socket egress: no link header

Each frame carries a number where no signature looks; the program writes what it took it
for under that number.

VPNGATE_LIVE_AGREEMENT sets the number of packets a signature: 10,000 for the whole
test.
"""

import contextlib
import fcntl
import os
import socket
import struct
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest

from tests.lab.bpf_programs import ETHERNET, NOTHING
from tests.lab.namespaces import Namespace, wait_until
from tests.netns.test_bpf_agreement import SIGNATURES, expected
from tests.unit.ruleset.oddities import numbered, odd_frames
from tests.unit.signatures.traffic import frames
from vpngate.kernel.bpf import programs
from vpngate.kernel.bpf.assembly import (
    R0,
    R1,
    R2,
    R6,
    R8,
    STACK,
    ActionCode,
    Assembly,
    Context,
)
from vpngate.kernel.bpf.code.finding import SCRATCH_AT, copy, find, found
from vpngate.kernel.bpf.code.recognising import Exits, recognise
from vpngate.kernel.bpf.maps import index, mapped_array
from vpngate.kernel.bpf.syscall import AttachPoint, BpfRefused, Helper
from vpngate.packets import Family

PACKETS = int(os.environ.get("VPNGATE_LIVE_AGREEMENT", "1000"))
SEED = 37
NUMBERS = 1 << 16
AT_ONCE = 60_000
NUMBER_AT = {Family.IPV4: 4, Family.IPV6: 2}

TUN, TAP, NO_INFORMATION, NAPI, IN_PIECES = 0x0001, 0x0002, 0x1000, 0x0010, 0x0020
TUNSETIFF = 0x400454CA
MOST_PIECES = 16
PAGE = 4096

Sender = Callable[[bytes], object]


class Notes:
    """What a program took each frame for, by its number."""

    def __init__(self) -> None:
        self.map = mapped_array("notes", NUMBERS)
        self.count = mapped_array("count", 8)
        self._memory = self.map.mapped()

    def close(self) -> None:
        self._memory.close()
        self.map.close()
        self.count.close()

    @property
    def seen(self) -> int:
        value = self.count.get(index(0))
        assert value is not None
        return int.from_bytes(value, "little")

    def have_seen(self, count: int) -> bool:
        return self.seen >= count

    def of(self, number: int) -> int | None:
        noted = self._memory[number]
        return noted - 2 if noted else None

    def program(self, link_header: int) -> bytes:
        code = Assembly().set(R6, R1)
        code.map_value(R1, self.count).set(R2, 1).add_at(R1, 0, R2)
        find(code, link_header, "nothing")
        for family in Family:
            code.label(found(family))
        recognise(code, SIGNATURES, Exits("note", "nothing"))
        code.label("nothing").set(R8, NOTHING)
        code.label("note").load(4, R0, R6, Context.PROTOCOL)
        for family, protocol in ((Family.IPV4, 0x0008), (Family.IPV6, 0xDD86)):
            code.jump("==", R0, protocol, f"number of {family.label}")
        code.goto("out")
        for family in Family:
            code.label(f"number of {family.label}")
            copy(code, (link_header + NUMBER_AT[family], 2), SCRATCH_AT, "out")
            code.load(2, R1, STACK, SCRATCH_AT).to_network(R1, 16)
            code.map_value(R2, self.map).compute("+", R2, R1)
            code.compute("+", R8, 2).store(1, R2, 0, R8).goto("out")
        return code.label("out").exit(ActionCode.NEXT).assembled()


def redirecting(interface: int) -> bytes:
    code = Assembly().set(R1, interface).set(R2, 0).call(Helper.REDIRECT)
    return code.exit().assembled()


@contextlib.contextmanager
def attached(code: bytes, device: str, point: AttachPoint) -> Iterator[None]:
    program = programs.load(code, "noting")
    try:
        link = programs.link(program, socket.if_nametoindex(device), point)
    except BpfRefused as old:
        pytest.skip(f"Linux before 6.6: {old}")
    finally:
        programs.close(program)
    try:
        yield
    finally:
        programs.close(link)


@contextlib.contextmanager
def raw(device: str, kind: int = socket.SOCK_RAW) -> Iterator[Sender]:
    with socket.socket(socket.AF_PACKET, kind) as sender:
        sender.bind((device, 0))
        if kind == socket.SOCK_RAW:
            yield sender.send
        else:
            yield lambda frame: sender.sendto(
                frame[ETHERNET:], (device, int.from_bytes(frame[12:ETHERNET]))
            )


@contextlib.contextmanager
def tunnel(name: str, kind: int) -> Iterator[int]:
    """A device of ours: what is written to it comes in by it."""
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    try:
        request = struct.pack("16sH", name.encode(), kind | NO_INFORMATION)
        fcntl.ioctl(device, TUNSETIFF, request.ljust(40, b"\0"))
        yield device
    finally:
        os.close(device)


def in_pieces(device: int, random: Random) -> Sender:
    """Nothing but the link header, or a little more, is where the packet begins."""

    def send(frame: bytes) -> None:
        first = random.choice((14, 14, 14, 15, 33, 34, 35, 41, 42, 43, 54, 61, 62, 80))
        cuts = (
            {ETHERNET, *range(PAGE, len(frame), PAGE)} if first == ETHERNET else {first}
        )
        for _ in range(random.choice((0, 1, 1, 4, 12))):
            cuts.add(random.randrange(first, max(first + 1, len(frame))))
        borders = [
            0,
            *sorted(cut for cut in cuts if first <= cut < len(frame)),
            len(frame),
        ]
        pieces = [frame[a:b] for a, b in pairwise(borders)]
        os.writev(device, pieces[: MOST_PIECES + 1])

    return send


def to_send() -> list[bytes]:
    """Around every signature, and what might be taken for something else."""
    around = [
        frame for signature in SIGNATURES for frame in frames(signature, PACKETS, SEED)
    ]
    odd = [
        f for f in odd_frames(tuple(SIGNATURES), PACKETS, SEED) if f[12:14] != b"\x81\0"
    ]
    return around + odd


def compare(send: Sender, notes: Notes, every: list[bytes]) -> None:
    matched = 0
    for start in range(0, len(every), AT_ONCE):
        some = [numbered(n, f) for n, f in enumerate(every[start : start + AT_ONCE], 1)]
        awaited = notes.seen + len(some)
        for frame in some:
            send(frame)
        wait_until(partial(notes.have_seen, awaited), "the last frame")
        for number, frame in enumerate(some, 1):
            wanted, noted = expected(SIGNATURES, frame), notes.of(number)
            matched += wanted != NOTHING
            if noted is None:  # too short to carry a number
                assert wanted == NOTHING
            else:
                assert noted == wanted, f"seed {SEED}: {frame.hex()}"
        notes._memory[:] = bytes(NUMBERS)
    assert matched > 0.05 * len(every)


@pytest.fixture
def namespace(tmp_path: Path) -> Iterator[Namespace]:
    made = Namespace("frames", tmp_path)
    made.sysctl("net.ipv6.conf.default.disable_ipv6", 1)  # says nothing itself
    made.ip(
        "link add va mtu 9000 type veth peer name vb mtu 9000",
        "link set va up",
        "link set vb up",
    )
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def notes() -> Iterator[Notes]:
    made = Notes()
    yield made
    made.close()


@pytest.mark.parametrize("point", AttachPoint, ids=lambda p: p.name.lower())
def test_in_one_piece(namespace: Namespace, notes: Notes, point: AttachPoint) -> None:
    device = "va" if point is AttachPoint.TCX_INGRESS else "vb"

    def run() -> None:
        with attached(notes.program(ETHERNET), "vb", point), raw(device) as send:
            compare(send, notes, to_send())

    namespace.call(run)


@pytest.mark.parametrize("point", AttachPoint, ids=lambda p: p.name.lower())
def test_in_pieces(namespace: Namespace, notes: Notes, point: AttachPoint) -> None:
    every = [frame for frame in to_send() if len(frame) > ETHERNET]

    def run() -> None:
        with contextlib.ExitStack() as undo:
            device = undo.enter_context(tunnel("tap0", TAP | NAPI | IN_PIECES))
            namespace.run("ethtool", "-K", "tap0", "gro", "off")  # it pulls headers
            namespace.ip("link set tap0 mtu 9000 up")
            if point is AttachPoint.TCX_EGRESS:
                ingress = redirecting(socket.if_nametoindex("vb"))
                undo.enter_context(attached(ingress, "tap0", AttachPoint.TCX_INGRESS))
                undo.enter_context(attached(notes.program(ETHERNET), "vb", point))
            else:
                undo.enter_context(attached(notes.program(ETHERNET), "tap0", point))
            compare(in_pieces(device, Random(SEED)), notes, every)

    namespace.call(run)


@pytest.mark.parametrize("point", AttachPoint, ids=lambda p: p.name.lower())
def test_without_a_link_header(
    namespace: Namespace, notes: Notes, point: AttachPoint
) -> None:
    # A tun device tells the family by the version that the packet says it has.
    every = [
        frame
        for frame in to_send()
        if len(frame) > ETHERNET
        and (frame[12:14], frame[ETHERNET] >> 4) in ((b"\x08\0", 4), (b"\x86\xdd", 6))
    ]

    def run() -> None:
        with contextlib.ExitStack() as undo:
            device = undo.enter_context(tunnel("tun0", TUN))
            namespace.ip("link set tun0 mtu 9000 up")
            undo.enter_context(attached(notes.program(0), "tun0", point))
            if point is AttachPoint.TCX_INGRESS:
                compare(lambda f: os.write(device, f[ETHERNET:]), notes, every)
            else:
                send = undo.enter_context(raw("tun0", socket.SOCK_DGRAM))
                compare(send, notes, every)

    namespace.call(run)


def test_the_pieces_are_pieces(namespace: Namespace) -> None:
    """What the test above is about: not even the IP header is with the beginning."""
    seen = mapped_array("seen", 8)

    def program() -> bytes:
        code = Assembly().load(4, R1, R1, Context.DATA).exit(0)
        code = Assembly().set(R6, R1).load(4, R1, R6, Context.DATA_END)
        code.load(4, R2, R6, Context.DATA).compute("-", R1, R2)
        return code.map_value(R2, seen).store(8, R2, 0, R1).exit(0).assembled()

    def run() -> None:
        with tunnel("tap0", TAP | NAPI | IN_PIECES) as device:
            namespace.run("ethtool", "-K", "tap0", "gro", "off")
            namespace.ip("link set tap0 up")
            with attached(program(), "tap0", AttachPoint.TCX_INGRESS):
                frame = bytes(12) + b"\x08\0\x45" + bytes(60)
                os.writev(device, [frame[:ETHERNET], frame[ETHERNET:]])
                wait_until(lambda: seen.get(index(0)) != bytes(8), "the frame")
        assert seen.get(index(0)) == struct.pack("=Q", ETHERNET)

    namespace.call(run)
    seen.close()
