# SPDX-License-Identifier: GPL-2.0-or-later
"""A program that plays both ends of many WireGuard handshakes, across a gateway.

    python -m bench.handshaker PLAN TIMES

PLAN is a file with a `Plan` as JSON. It opens a raw socket in the namespace of either
end, prints `ready`, and sends on a line of standard input: initiations from the near
end, each with its answer from the far end a round trip later, both with a valid mac1
(WireGuard paper, section 5.4.4). Handshakes come at random (Poisson), RATE a second on
average, each of another flow. TIMES gets, as doubles, when each answer was sent, in
seconds of the monotonic clock, right before it was; it prints as JSON how many frames
had no room on the wire, and how late the latest was.

Knows frames and time; does not know who sees them.
"""

import ctypes
import hashlib
import heapq
import json
import os
import random
import socket
import struct
import sys
import time
from array import array
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.lab.barrage import _checksum

PORT = 51820  # of all servers
_NEWNET = 0x40000000
_SOL_PACKET, _QDISC_BYPASS = 263, 20
_LABEL = b"mac1----"
_INITIATION, _RESPONSE = 148, 92  # bytes (sections 5.4.2, 5.4.3)
_MACS = 32  # bytes of mac1 and mac2
_PORTS = 60_000


@dataclass(frozen=True)
class End:
    """Where one end's frames go out: namespace, device, its address and the next."""

    namespace: str
    device: str
    mac: str
    next_hop: str


@dataclass(frozen=True)
class Plan:
    """What to send.

    first        number of the first flow; each number is another flow
    subscribers  how many of them the flows are of
    round_trip   seconds between an initiation and its answer
    """

    near: End
    far: End
    first: int
    count: int
    rate: float
    subscribers: int
    round_trip: float = 0.02

    def to_json(self) -> str:
        return json.dumps(asdict(self))


def plan_from(text: str) -> Plan:
    """What `Plan.to_json` wrote."""
    page = json.loads(text)
    near, far = End(**page.pop("near")), End(**page.pop("far"))
    return Plan(near, far, **page)


def subscriber(number: int, subscribers: int) -> tuple[bytes, int]:
    """Address and port of a flow's near end: in 100.80.0.0/12."""
    which = number % subscribers
    port = 1024 + number // subscribers % _PORTS
    return (0x64500000 + which).to_bytes(4, "big"), port


def server(number: int) -> bytes:
    """Address of a flow's far end: in 198.18.0.0/15, another for each."""
    return (0xC6120000 + number % 0x20000).to_bytes(4, "big")


def flow_key(number: int, subscribers: int) -> bytes:
    """Both ends of a flow, near first, as the verdict map has them."""
    address, port = subscriber(number, subscribers)
    return address + server(number) + struct.pack(">HH", port, PORT)


def frames(plan: Plan) -> Iterator[tuple[bytes, bytes]]:
    """Initiation and answer of each flow, on Ethernet."""
    choice = random.Random(plan.first)
    near, far = (
        bytes.fromhex((end.next_hop + end.mac).replace(":", "")) + b"\x08\x00"
        for end in (plan.near, plan.far)
    )
    for number in range(plan.first, plan.first + plan.count):
        sender, receiver = choice.randbytes(4), choice.randbytes(4)
        address, port = subscriber(number, plan.subscribers)
        ends = (address, port), (server(number), PORT)
        asked = _message(b"\1\0\0\0" + sender, _INITIATION, choice)
        answered = _message(b"\2\0\0\0" + receiver + sender, _RESPONSE, choice)
        yield near + _packet(*ends, asked), far + _packet(*ends[::-1], answered)


def _message(head: bytes, size: int, choice: random.Random) -> bytes:
    """A whole message whose mac1 is the one for a random public key; no cookie."""
    told = head + choice.randbytes(size - len(head) - _MACS)
    key = hashlib.blake2s(_LABEL + choice.randbytes(32)).digest()
    mac = hashlib.blake2s(told, digest_size=16, key=key).digest()
    return told + mac + bytes(16)


def _packet(
    source: tuple[bytes, int], target: tuple[bytes, int], payload: bytes
) -> bytes:
    """IPv4 and UDP, without a checksum of UDP, which nobody on the way asks for."""
    length = 8 + len(payload)
    fields = 0x45, 0, 20 + length, 0, 0, 64, socket.IPPROTO_UDP
    head = struct.pack(">BBHHHBBH", *fields, 0) + source[0] + target[0]
    head = head[:10] + _checksum(head).to_bytes(2, "big") + head[12:]
    return head + struct.pack(">4H", source[1], target[1], length, 0) + payload


def _socket(libc: ctypes.CDLL, end: End) -> socket.socket:
    """A raw socket in that namespace; this thread stays there."""
    with Path(end.namespace).open() as entrance:
        if libc.setns(entrance.fileno(), _NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    raw.setsockopt(_SOL_PACKET, _QDISC_BYPASS, 1)
    raw.bind((end.device, 0))
    raw.setblocking(False)
    return raw


def _due(plan: Plan) -> list[tuple[float, int, bool]]:
    """When each frame is due, in seconds from the start: flow, and whether answered."""
    choice = random.Random(plan.first + 1)
    at, asked = 0.0, []
    for number in range(plan.count):
        at += choice.expovariate(plan.rate)
        asked.append((at, number, False))
    answered = [(at + plan.round_trip, number, True) for at, number, _ in asked]
    return list(heapq.merge(asked, answered))


def main() -> None:
    plan = plan_from(Path(sys.argv[1]).read_text())
    libc = ctypes.CDLL(None, use_errno=True)
    near, far = _socket(libc, plan.near), _socket(libc, plan.far)
    made, due = list(frames(plan)), _due(plan)
    times = array("d", bytes(8 * plan.count))
    no_room, latest = 0, 0.0
    os.nice(-5)  # late frames would be bursts that nobody asked for
    print("ready", flush=True)
    if not sys.stdin.readline():  # whoever wanted it is gone
        return
    begin = time.monotonic()
    for at, number, answers in due:
        now = time.monotonic() - begin
        if now < at:
            time.sleep(at - now)
        else:
            latest = max(latest, now - at)
        if answers:
            times[number] = time.monotonic()
        try:
            (far if answers else near).send(made[number][answers])
        except BlockingIOError:
            no_room += 1
    Path(sys.argv[2]).write_bytes(times.tobytes())
    print(json.dumps({"no room": no_room, "latest": latest}), flush=True)


if __name__ == "__main__":
    main()
