# SPDX-License-Identifier: GPL-2.0-or-later
"""The chains of the real table copy exactly the packets that the predicate picks.

Verdict chains first, then the decision tree, limits and samples: all of it as the
daemon installs it, at ingress and at egress. Each frame carries a number where no
signature looks (IPv4's identification, IPv6's flow label); NFLOG's copies tell which
were picked. Frames lie around every signature, odd and damaged ones among them, or
are crafted traffic that is to be left alone.

Kernels before 6.11, and before 6.1.108 of Debian 12's branch, take the link header at
egress for a part of an IPv4 packet: there a few damaged ones differ.

VPNGATE_LIVE_COPYING sets the number of packets a signature: 10,000 for the long form.
The wire is drawn in `wire.py`.
"""

import asyncio
import contextlib
import json
import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, product
from random import Random
from typing import TypeVar

from tests.lab.namespaces import wait_until
from tests.lab.plane import RULESET
from tests.netns.wire import Wire, build, is_readable, mouth
from tests.unit import crafted
from tests.unit.signatures.traffic import ETHERNET, frames, payload_of
from tests.unit.tunnels.crafting import network
from vpngate.capture.live.nflog import NflogCapture
from vpngate.capture.live.nflog_messages import logged_packets
from vpngate.kernel.live import LiveDataPlane
from vpngate.packets import Family, HookPoint
from vpngate.prefixes.intervals import Intervals
from vpngate.ruleset.copying import SAMPLE
from vpngate.signatures import Signature
from vpngate.signatures.predicate import matches

_Result = TypeVar("_Result")

PACKETS = int(os.environ.get("VPNGATE_LIVE_COPYING", "600"))
SEED = 29

SPARED = Intervals.of_prefixes(["64.0.0.0/2", "4000::/2"])  # of pairs nearly half
RULES = replace(
    RULESET,
    interfaces=("gate0",),
    spared=SPARED,
    packets_per_second=len(RULESET.signatures) * 2_000_000,  # no limit gets in the way
    reverse_path=False,  # the addresses are anybody's
)
OUR_MAC = bytes.fromhex("020000000001")
OUR_MACS = bytes.fromhex("020000000002") + OUR_MAC
VERSIONS = {b"\x08\x00": Family.IPV4, b"\x86\xdd": Family.IPV6}
ADDRESSES = {Family.IPV4: 12, Family.IPV6: 8}  # where they begin
NUMBER = {Family.IPV4: 4, Family.IPV6: 2}  # and where two bytes are free

LAST = 0xFFFF  # the number of the frame that is sent when all others have passed
AT_ONCE = 500
AGAIN = 40  # packets of a pair, where a few are copied

# Behind vpngate's own chains: what is counted here has been copied if it will be.
PASSED = """
table netdev passed {
  counter ingress {}
  counter egress {}
  chain in {
    type filter hook ingress device "gate0" priority 1000;
    ether saddr 02:00:00:00:00:01 counter name "ingress"
  }
  chain out {
    type filter hook egress device "gate0" priority 1000;
    ether saddr 02:00:00:00:00:01 counter name "egress"
  }
}
"""


def numbered(number: int, frame: bytes) -> bytes:
    at = ETHERNET + NUMBER[VERSIONS[frame[12:14]]]
    return frame[:at] + number.to_bytes(2) + frame[at + 2 :]


def left_alone(random: Random) -> Iterator[bytes]:
    """Crafted traffic, and a little that is not to be left alone, between anybody."""
    kinds = (crafted.disguised, crafted.everyday, crafted.other_tunnels)
    for traffic in chain(crafted.undisguised(), *(kind() for kind in kinds)):
        for payload, back in traffic.packets:
            for ipv6, ethertype in enumerate(VERSIONS):
                packet = network(
                    *(traffic.transport, payload, traffic.ports),
                    back=back,
                    ipv6=bool(ipv6),
                )
                family = VERSIONS[ethertype]
                start = ADDRESSES[family]
                end = start + 2 * family.width
                ends = random.randbytes(end - start)
                yield OUR_MACS + ethertype + packet[:start] + ends + packet[end:]


def batches() -> Iterator[tuple[str, list[bytes]]]:
    """Frames by what they are about."""
    for signature in RULES.signatures:
        yield signature.name, list(frames(signature, PACKETS, SEED))
    yield "crafted traffic", list(left_alone(Random(SEED)))


def is_copied(frame: bytes) -> bool:
    """What the predicate says, and for sampled signatures the registry."""
    packet = frame[ETHERNET:]
    family = VERSIONS[frame[12:14]]
    if not packet or packet[0] >> 4 != family:
        return False
    picked = [s.sampled for s in RULES.signatures if matches(s, packet)]
    if not all(picked):
        return True
    start, width = ADDRESSES[family], family.width
    ends = (packet[at : at + width] for at in (start, start + width))
    return bool(picked) and not any(SPARED.contains(end) for end in ends)


class Gate:
    """Where frames go in, and copies come out."""

    def __init__(
        self,
        wire: Wire,
        capture: NflogCapture,
        speaking: dict[HookPoint, socket.socket],
    ) -> None:
        self._wire = wire
        self._capture = capture
        self._speaking = speaking
        self._passed = dict.fromkeys(HookPoint, 0)
        self._sequence = 0
        # It comes last, and is copied for sure.
        wireguard = next(crafted.undisguised())
        packet = network(wireguard.transport, wireguard.up[0], wireguard.ports)
        self._last = numbered(LAST, OUR_MACS + b"\x08\x00" + packet)

    def copies(self, point: HookPoint, batch: Sequence[bytes]) -> list[int]:
        """The numbers of the frames that were copied at a hook, in order."""
        speaking = self._speaking[point]
        found: list[int] = []
        for start in range(0, len(batch), AT_ONCE):
            some = batch[start : start + AT_ONCE]
            for number, frame in enumerate(some, start):
                speaking.send(numbered(number, frame))
            self._await_passage(point, len(some))
            speaking.send(self._last)
            self._await_passage(point, 1)
            while LAST not in found:
                assert is_readable(self._capture, 10), "the last copy did not come"
                found += self._receive(point)
            found.remove(LAST)
        return found

    def _await_passage(self, point: HookPoint, count: int) -> None:
        self._passed[point] += count
        name = point.name.lower()

        def all_passed() -> bool:
            listed = self._wire.gateway.run(
                *("nft", "--json", "list", "counter", "netdev", "passed", name)
            )
            counter = json.loads(listed)["nftables"][-1]["counter"]
            return int(counter["packets"]) == self._passed[point]

        wait_until(all_passed, f"the last frame at {name}")

    def _receive(self, point: HookPoint) -> Iterator[int]:
        """The numbers in one datagram: also of what user space would not decode."""
        datagram = memoryview(self._capture._socket.recv(1 << 18))
        for logged in logged_packets(datagram):
            assert logged.sequence == self._sequence, "copies were lost"
            self._sequence += 1
            assert logged.hook == point
            packet = logged.payload[ETHERNET if point is HookPoint.EGRESS else 0 :]
            at = NUMBER[VERSIONS[logged.ether_type.to_bytes(2)]]
            yield int.from_bytes(packet[at : at + 2])


@contextlib.contextmanager
def gate_on(wire: Wire) -> Iterator[Gate]:
    with (
        NflogCapture(RULES.nflog_group) as capture,
        mouth(wire.host, "eth0") as host,
        mouth(wire.gateway, "gate0") as gateway,
    ):
        speaking = {HookPoint.INGRESS: host, HookPoint.EGRESS: gateway}
        yield Gate(wire, capture, speaking)


def at_the_gate(work: Callable[[Gate], _Result]) -> _Result:
    """Have it done at a gateway where the table stands."""

    async def scenario(wire: Wire) -> _Result:
        plane = LiveDataPlane()
        try:
            await plane.start(RULES)
            await plane.rearm()
            with gate_on(wire) as gate:
                return await asyncio.to_thread(work, gate)
        finally:
            await plane.stop()

    with build() as wire:
        wire.gateway.run("nft", "-f", "-", stdin=PASSED)
        for namespace, device in ((wire.host, "eth0"), (wire.gateway, "gate0")):
            namespace.ip(f"link set {device} mtu 9000")
        return wire.gateway.call(lambda: asyncio.run(scenario(wire)))


def compare(gate: Gate) -> str:
    sent, copied = 0, 0
    for name, batch in batches():
        whole = [
            frame
            for frame in batch
            if len(frame) >= ETHERNET + 2 + NUMBER[VERSIONS[frame[12:14]]]
        ]
        assert len(whole) > 0.9 * len(batch)
        expected = [n for n, f in enumerate(whole) if is_copied(numbered(n, f))]
        assert expected, f"{name}: nothing is to be copied"
        for point in HookPoint:
            found = gate.copies(point, whole)
            wrong = sorted(set(found) ^ set(expected))
            assert not wrong, (
                f"seed {SEED}, {name} at {point.name}: {len(wrong)} differ, such as "
                f"{numbered(wrong[0], whole[wrong[0]]).hex()}, which was "
                f"{'' if wrong[0] in found else 'not '}copied"
            )
            assert sorted(found) == expected, f"{name}: copied twice"
            sent, copied = sent + len(whole), copied + len(found)
    return f"{sent:,} packets, {copied:,} copied"


def test_what_is_copied_is_what_the_predicate_picks() -> None:
    told = at_the_gate(compare)
    print(f"seed {SEED}: {told}")  # noqa: T201 - for the reader of a long run


def conversation(random: Random, signature: Signature, *, ipv6: bool) -> list[bytes]:
    """The same kind of packet again and again, between two that are not spared."""
    family = Family.IPV6 if ipv6 else Family.IPV4
    start, width = ADDRESSES[family], family.width
    ends = b"".join(b"\xc6" + random.randbytes(width - 1) for _ in range(2))
    batch = []
    for _ in range(AGAIN):
        payload = payload_of(random, signature.shapes[0])
        ports = (40000, min(signature.ports, default=0))
        packet = network(signature.transport, payload, ports, ipv6=ipv6)
        packet = packet[:start] + ends + packet[start + 2 * width :]
        assert matches(signature, packet)
        ethertype = b"\x86\xdd" if ipv6 else b"\x08\x00"
        batch.append(OUR_MACS + ethertype + packet)
    return batch


def test_of_a_pair_of_addresses_few_are_copied() -> None:
    random = Random(SEED)

    def sample(gate: Gate) -> None:
        for signature in filter(lambda s: s.sampled, RULES.signatures):
            for point, ipv6 in product(HookPoint, (False, True)):
                where = f"{signature.name} at {point.name}, IPv6 {ipv6}"
                for _ in range(2):  # another pair has its own
                    batch = conversation(random, signature, ipv6=ipv6)
                    began = time.monotonic()
                    found = gate.copies(point, batch)
                    more = (time.monotonic() - began) * SAMPLE.rate / SAMPLE.seconds
                    assert found == list(range(len(found))), where  # the first ones
                    assert SAMPLE.burst <= len(found) <= SAMPLE.burst + more + 1, where

    at_the_gate(sample)
