# SPDX-License-Identifier: GPL-2.0-or-later
"""What is kept back from the flow table leaves it as if it had seen everything."""

import struct
from collections.abc import Iterable, Iterator
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vpngate.capture.files.file import CaptureFile
from vpngate.capture.files.several import Several
from vpngate.capture.replay import Replay
from vpngate.capture.steady import Steady
from vpngate.capture.summaries import Replayed, Summaries
from vpngate.flows import FlowTable
from vpngate.recognition import Heard, Sighting, Tunnel
from vpngate.tunnels import all_tunnels

# With the least there is room for one flow and no more: two push each other out. With
# more a flow keeps several SPIs.
ROOMS = (5000, 9000, 14_000, 200_000)  # bytes
REPLAYS = {most: Replay(all_tunnels(), max_bytes=most) for most in ROOMS}
START = 1_700_000_000.0
Network = tuple[bytes, float]
# Sender, SPI, what its number does, and how much later it comes.
Event = tuple[int, int, int, float]


def esp(sender: int, spi: int, number: int, *, ipv6: bool, size: int = 80) -> bytes:
    """ESP between two hosts; where `spi` is odd between another two."""
    pair = spi % 2
    ends = [bytes([10, pair, 0, end]) for end in (1, 2)]
    payload = struct.pack(">II", spi, number) + bytes(size)
    source, destination = ends if sender else reversed(ends)
    if ipv6:
        head = struct.pack(">IHBB", 6 << 28, len(payload), 50, 64)
        source, destination = source * 4, destination * 4
    else:
        total = 20 + len(payload)
        head = struct.pack(">BBHHHBBH", 0x45, 0, total, 0, 0, 64, 50, 0)
    return head + source + destination + payload


class Recorded:
    """A capture of these packets."""

    fraction = None

    def __init__(self, packets: Iterable[Network]) -> None:
        self._packets = packets

    def batches(self) -> Iterator[Several]:
        yield from map(Several, self._packets)


def packets_of(events: Iterable[Event], *, ipv6: bool) -> list[Network]:
    now, numbers = START, dict[tuple[int, int], int]()
    packets = []
    for sender, spi, step, later in events:
        now += later
        number = (numbers.get((sender, spi), 0xFFFFFFF0) + step) % (1 << 32)
        numbers[sender, spi] = number
        packets.append((esp(sender, 0x1000 + spi, number, ipv6=ipv6), now))
    return packets


def outcome(
    packets: Iterable[Network],
    monkeypatch: pytest.MonkeyPatch,
    *,
    one_by_one: bool,
    room: int = ROOMS[0],
) -> tuple[list[Replayed], list[Sighting], int]:
    """Flows, everything that was sighted on the way, and how often the table looked."""
    sighted: list[Sighting] = []
    looked = 0
    sight, observe = Summaries.sight, FlowTable.observe

    def noting(summaries: Summaries, sighting: Sighting) -> None:
        sighted.append(sighting)
        sight(summaries, sighting)

    def counting(
        table: FlowTable, heard: Heard, tunnel: Tunnel, now: float
    ) -> Sighting | None:
        nonlocal looked
        looked += 1
        return observe(table, heard, tunnel, now)

    with monkeypatch.context() as patched:
        patched.setattr(Summaries, "sight", noting)
        patched.setattr(FlowTable, "observe", counting)
        if one_by_one:
            patched.setattr(Steady, "takes", lambda *_: False)
        capture = cast("CaptureFile", Recorded(packets))
        return list(REPLAYS[room].flows(capture)), sighted, looked


# Nearly always a step forward, soon after the one before; now and then anything else.
OTHERS = [
    (0, 1),
    (1, 3),
    (1, 0),
    *((end, 2 * n) for n in range(2, 8) for end in (0, 1)),
]
ENDS = st.sampled_from([(0, 0), (1, 2)] * 24 + OTHERS)
STEPS = st.sampled_from([1] * 60 + [2, 5, 0, -1, -3, -70, 1 << 19, 1 << 20, 1 << 30])
LATER = st.sampled_from([0.0, 0.01] * 20 + [0.5, 9.0, 29.5, 31.0, 31.0, 601.0, -1.0])
EVENTS = st.lists(
    st.builds(lambda ends, step, later: (*ends, step, later), ENDS, STEPS, LATER),
    min_size=40,
    max_size=200,
)


@settings(max_examples=60, deadline=None)
@given(events=EVENTS, room=st.sampled_from(ROOMS), ipv6=st.booleans())
def test_what_is_sighted_is_the_same(
    events: list[Event], room: int, *, ipv6: bool
) -> None:
    monkeypatch = pytest.MonkeyPatch()
    # Both ends with an SPI each, so that most flows are confirmed at once.
    begun = [(end, 2 * end, 1, 0.01) for _ in range(4) for end in (0, 1)]
    packets = packets_of([*begun, *events], ipv6=ipv6)
    flows, sighted, _ = outcome(packets, monkeypatch, one_by_one=False, room=room)
    control, all_sighted, looked = outcome(
        packets, monkeypatch, one_by_one=True, room=room
    )
    assert flows == control
    assert sighted == all_sighted
    assert looked == len(packets)


def test_a_long_tunnel_is_hardly_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    events = [(end, 2 * end, 1, 0.001) for _ in range(2000) for end in (0, 1)]
    packets = packets_of(events, ipv6=False)
    flows, _, looked = outcome(packets, monkeypatch, one_by_one=False)
    assert [flow.sighting.tunnel.name for flow in flows] == ["ipsec"]
    assert looked < 20


def test_what_was_kept_back_counts_at_the_next_confirmation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One packet half a minute later confirms again: both ends had gone on."""
    events = [(end, 2 * end, 1, 0.001) for _ in range(200) for end in (0, 1)]
    packets = packets_of([*events, (0, 0, 1, 31.0)], ipv6=False)
    _, sighted, _ = outcome(packets, monkeypatch, one_by_one=False)
    _, all_sighted, _ = outcome(packets, monkeypatch, one_by_one=True)
    assert sighted == all_sighted
    assert sighted[-1].repeated


@pytest.mark.parametrize("spoilt", ["fragment", "options", "short", "same SPI"])
def test_what_does_not_fit_is_looked_at(
    monkeypatch: pytest.MonkeyPatch, spoilt: str
) -> None:
    same = spoilt == "same SPI"
    events = [
        (end, 0 if same else 2 * end, 1, 0.01) for _ in range(99) for end in (0, 1)
    ]
    packets = []
    for network, now in packets_of(events, ipv6=False):
        head = bytearray(network)
        if spoilt == "fragment":
            head[6] = 0x20
        elif spoilt == "options":
            head[0], head[2:4] = 0x46, (len(network) + 4).to_bytes(2)
            head[20:20] = bytes(4)
        elif spoilt == "short":
            head[2:4] = (48).to_bytes(2)
        packets.append((bytes(head), now))
    flows, sighted, looked = outcome(packets, monkeypatch, one_by_one=False)
    control, all_sighted, _ = outcome(packets, monkeypatch, one_by_one=True)
    assert (flows, sighted, looked) == (control, all_sighted, len(packets))
