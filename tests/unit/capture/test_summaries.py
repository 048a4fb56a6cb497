# SPDX-License-Identifier: GPL-2.0-or-later
"""What is to be told of a capture's flows stays within its bound.

VPNGATE_FLOOD sets the initiations of the flood: 1,000,000 for the whole test.
"""

import os
import subprocess
import sys
import tracemalloc
from pathlib import Path
from struct import pack

import pytest

from tests.unit.capture import crafted
from vpngate.capture.replay import SUMMARIES_SHARE, Replay
from vpngate.capture.summaries import SUMMARY_BYTES, Summaries
from vpngate.flows import MAX_BYTES
from vpngate.packets import Endpoint, FlowKey, Transport
from vpngate.recognition import Evidence, Sighting, Tunnel
from vpngate.tunnels import all_tunnels

FLOOD = int(os.environ.get("VPNGATE_FLOOD", "60000"))
ONE, OTHER = (
    Tunnel(name, (), lambda _: None, lambda flow: (flow,), idle=180)
    for name in ("one", "other")
)
INITIATION, CONFIRMED = Evidence
SERVER = Endpoint(bytes(15) + b"\1", 1194)


def sighting(
    number: int,
    evidence: Evidence = INITIATION,
    tunnel: Tunnel = ONE,
    handshakes: int = 0,
) -> Sighting:
    client = Endpoint(bytes.fromhex("20010db8") + number.to_bytes(12), 40000)
    flow = FlowKey.of(Transport.UDP, client, SERVER)
    seen = 1_700_000_000 + number / 7
    return Sighting(tunnel, flow, client, SERVER, evidence, seen, handshakes)


def numbers(flows: list[Sighting]) -> list[int]:
    return [int.from_bytes(flow.initiator.address[4:]) for flow in flows]


def test_what_does_not_fit_is_told_the_one_heard_of_least_lately_first() -> None:
    summaries = Summaries(3 * SUMMARY_BYTES)
    for number in (1, 2, 3):
        summaries.sight(sighting(number))
    summaries.sight(sighting(1, CONFIRMED, handshakes=1))
    summaries.sight(sighting(4))
    assert numbers([told.sighting for told in summaries.surplus()]) == [2]
    assert list(summaries.surplus()) == []
    rest = [told.sighting for told in summaries.rest()]
    assert numbers(rest) == [1, 3, 4]
    assert rest[0].evidence is CONFIRMED


def test_of_two_tunnels_on_a_flow_the_better_evidence_counts() -> None:
    summaries = Summaries(10 * SUMMARY_BYTES)
    for tunnel in (ONE, OTHER):
        summaries.sight(sighting(1, tunnel=tunnel))
    (told,) = summaries.rest()
    assert told.sighting.tunnel is ONE
    summaries.sight(sighting(1, CONFIRMED, OTHER, handshakes=1))
    (told,) = summaries.rest()
    assert told.sighting.tunnel is OTHER


def test_what_a_flow_takes_is_not_understated() -> None:
    count = 5000
    summaries = Summaries(2 * count * SUMMARY_BYTES)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for number in range(count):
        summaries.sight(sighting(number))
        summaries.sight(sighting(number, CONFIRMED, handshakes=1))
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before <= summaries.bytes_used == count * SUMMARY_BYTES


def flood(path: Path, count: int) -> None:
    """Initiations from so many addresses, each of which is answered by nobody."""
    with path.open("wb") as out:
        out.write(crafted.pcap([], crafted.RAW))
        for number in range(count):
            payload = b"\1\0\0\0" + pack(">I", number) + bytes(140)
            packet = bytearray(crafted.udp(payload))
            packet[12:16] = b"\x0a" + number.to_bytes(3)
            seconds, part = divmod(number, 10_000)
            size = len(packet)
            head = pack("<IIII", 1_700_000_000 + seconds, part * 100, size, size)
            out.write(head + packet)


@pytest.mark.parametrize("explain", [False, True], ids=["bare", "explained"])
def test_every_flow_of_a_flood_is_told(tmp_path: Path, *, explain: bool) -> None:
    path, count = tmp_path / "flood.pcap", 3000
    flood(path, count)
    replay = Replay(all_tunnels(), explain=explain, max_bytes=1 << 20)
    told = [flow.initiator.address for flow, _ in replay.flows(replay.open(path))]
    assert replay.crowded
    assert len(set(told)) == len(told) == count
    roomy = Replay(all_tunnels(), explain=explain)
    assert sum(1 for _ in roomy.flows(roomy.open(path))) == count
    assert not roomy.crowded


_PEAK = """
import resource, sys
from pathlib import Path
from vpngate.capture.replay import Replay
from vpngate.tunnels import all_tunnels
path, most, how = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
replay = Replay(all_tunnels(), explain=how == "explain", max_bytes=most)
count = sum(1 for _ in replay.flows(replay.open(path)))
print(count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def peak(path: Path, max_bytes: int, how: str) -> tuple[int, int]:
    """Flows that a process of its own told, and the most bytes it had in memory."""
    argv = [sys.executable, "-c", _PEAK, str(path), str(max_bytes), how]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    count, size = map(int, done.stdout.split())
    return count, size


@pytest.mark.slow
@pytest.mark.parametrize("how", ["bare", "explain"])
def test_a_flood_takes_no_more_than_the_live_table_may(
    tmp_path: Path, how: str
) -> None:
    """Peak memory beside that of an empty capture, whatever the number of flows."""
    max_bytes = MAX_BYTES if FLOOD >= 10**6 else MAX_BYTES // 16
    empty, full = tmp_path / "empty.pcap", tmp_path / "full.pcap"
    flood(empty, 1)
    flood(full, FLOOD)
    _, before = peak(empty, max_bytes, how)
    count, after = peak(full, max_bytes, how)
    assert count == FLOOD
    slack = 8 << 20  # the allocator's, and lists that double
    bound = max_bytes + max_bytes // SUMMARIES_SHARE + slack
    assert after - before <= bound, f"{(after - before) / max_bytes:.2f} of the table"
