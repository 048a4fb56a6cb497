# SPDX-License-Identifier: GPL-2.0-or-later
"""What is taken many packets at once leaves the same as one packet after the other."""

import random
import struct
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.capture.crafted import INITIATION, RESPONSE, udp
from tests.unit.capture.test_candidates import framed
from tests.unit.capture.test_steady import EVENTS, Event, esp, packets_of
from vpngate.capture import esp_columns, steady
from vpngate.capture.files.batch import DumpedFrames
from vpngate.capture.files.several import Network, Networks, Several
from vpngate.capture.replay import Replay
from vpngate.capture.steady import Steady
from vpngate.capture.summaries import Replayed
from vpngate.link_layers import LAYOUTS, LinkType
from vpngate.tunnels import all_tunnels

REPLAY = Replay(all_tunnels())
SEED = 20266
START = 1_700_000_000
Frame = tuple[bytes, int]  # and microseconds since START


def record(frame: bytes, micro: int, order: str = "=", per_micro: int = 1) -> bytes:
    seconds, rest = divmod(micro, 1_000_000)
    lengths = (len(frame), len(frame))
    return (
        struct.pack(f"{order}IIII", START + seconds, rest * per_micro, *lengths) + frame
    )


def batches(frames: Sequence[Frame], link_type: int, size: int) -> Iterator[Several]:
    for at in range(0, len(frames), size):
        dumped = b"".join(record(*each) for each in frames[at : at + size])
        yield Networks(DumpedFrames(bytes(24) + dumped, 24), link_type)


class Left:
    """What a table would be fed with, and told of as it is."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, at_once: bool) -> None:
        self.looked_at_columns = 0
        taken = Steady._taken_at_once

        def counting(of: Steady, batch: Several, first: int) -> int:
            found = taken(of, batch, first) if at_once else 0
            self.looked_at_columns += found
            return found

        monkeypatch.setattr(Steady, "_taken_at_once", counting)
        monkeypatch.setattr(steady, "_WORTHWHILE", 0)
        monkeypatch.setattr(steady, "_SELDOMEST", 0)
        monkeypatch.setattr(steady, "_AT_ONCE", 2)

    def of(
        self, given: Callable[[], Iterator[Several]], monkeypatch: pytest.MonkeyPatch
    ) -> tuple[list[Replayed], list[Network]]:
        """The flows, and every packet that the table had to see."""
        seen: list[Network] = []
        remaining = Steady.remaining

        def noting(
            of: Steady, all_: Iterator[Several]
        ) -> Iterator[tuple[bytes, float]]:
            for held in remaining(of, all_):
                seen.append(held)
                yield held

        class Capture:
            batches = staticmethod(given)
            fraction = None

        monkeypatch.setattr(Steady, "remaining", noting)
        return list(REPLAY.flows(Capture())), seen  # type: ignore[arg-type]


def both_ways(
    given: Callable[[], Iterator[Several]],
) -> tuple[list[Replayed], int, int]:
    """The flows, however they are found; packets taken at once, and those left."""
    results = []
    for at_once in (True, False):
        with pytest.MonkeyPatch.context() as monkeypatch:
            left = Left(monkeypatch, at_once=at_once)
            results.append((left.of(given, monkeypatch), left.looked_at_columns))
    (found, many), (control, none) = results
    assert found == control
    assert not none
    return found[0], many, len(found[1])


@settings(max_examples=30, deadline=None)
@given(events=EVENTS, ipv6=st.booleans(), size=st.integers(1, 70))
def test_whatever_numbers_and_times_do(
    events: list[Event], size: int, *, ipv6: bool
) -> None:
    begun = [(end, 2 * end, 1, 0.01) for _ in range(9) for end in (0, 1)]
    frames = [
        (network, round((now - START) * 1e6))
        for network, now in packets_of([*begun, *events], ipv6=ipv6)
        if now >= START
    ]
    both_ways(lambda: batches(frames, LinkType.RAW, size))


def odd(rng: random.Random, network: bytes) -> bytes:
    """The packet, now and then as one seldom sees it."""
    head, is_ipv6 = bytearray(network), network[0] >> 4 == 6
    match rng.randrange(60):
        case 0:  # cut short
            return bytes(head[: rng.randrange(len(head))])
        case 1:  # padded
            return bytes(head) + bytes(rng.randrange(1, 50))
        case 2 if not is_ipv6:  # a fragment, or marked as not to be made one
            head[6:8] = rng.choice([b"\x20\0", b"\0\7", b"\x40\0", b"\x80\0"])
        case 3 if not is_ipv6:  # with options
            head[0], head[2:4] = 0x46, (len(network) + 4).to_bytes(2)
            head[20:20] = bytes(4)
        case 4 if is_ipv6:  # with an extension header
            head[4:6], head[6] = (
                (len(network) - 32).to_bytes(2),
                rng.choice([0, 44, 60]),
            )
            head[40:40] = b"\x32" + bytes(7)
        case 5:  # its header promises more, less, or nothing
            at = 4 if is_ipv6 else 2
            head[at : at + 2] = rng.choice([0, 30, 60, 84, 2000]).to_bytes(2)
        case 6:  # any byte is another
            head[rng.randrange(len(head))] ^= 1 << rng.randrange(8)
        case 7:  # as an offload has joined it
            return bytes(head) + bytes(3000)
        case 8:
            return rng.choice([udp(INITIATION), udp(RESPONSE), b"", b"\x45"])
    return bytes(head)


def odd_frames(rng: random.Random, link_type: int, packets: int) -> list[Frame]:
    """Four tunnels side by side, in every layout of a link type, most in one."""
    layouts = LAYOUTS[link_type]
    usual = rng.choice(layouts)
    numbers = dict[tuple[int, int, bool], int]()
    frames, micro = [], 0
    for _ in range(packets):
        sender, pair, ipv6 = rng.randrange(2), rng.randrange(2), rng.random() < 0.5
        place = (sender, pair, ipv6)
        numbers[place] = numbers.get(place, 7) + rng.choice([1] * 30 + [0, 2, 99, -1])
        spi = 0x1000 + 2 * sender + pair
        network = odd(rng, esp(sender, spi, numbers[place], ipv6=ipv6))
        layout = usual if rng.random() < 0.95 else rng.choice(layouts)
        frame = framed(layout, network) if network else bytes(layout.start)
        micro += rng.choice([10, 10, 10, 0, 20_000])
        frames.append((frame, micro))
    return frames


@pytest.mark.parametrize("link_type", LAYOUTS, ids=lambda number: LinkType(number).name)
def test_whatever_a_header_looks_like(link_type: int) -> None:
    rng = random.Random(f"{SEED} {link_type}")
    many = 0
    for size in (512, 37):
        frames = odd_frames(rng, link_type, 800)
        flows, taken, _ = both_ways(lambda: batches(frames, link_type, size))  # noqa: B023 - called at once
        assert flows
        many += taken
    assert many > 100


FORMATS = {  # byte order, magic, parts of a microsecond
    "little": ("<", 0xA1B2C3D4, 1),
    "big": (">", 0xA1B2C3D4, 1),
    "little, nanoseconds": ("<", 0xA1B23C4D, 1000),
    "big, nanoseconds": (">", 0xA1B23C4D, 1000),
}


@pytest.mark.parametrize("form", FORMATS)
def test_whatever_the_file_is_like(tmp_path: Path, form: str) -> None:
    order, magic, per_micro = FORMATS[form]
    frames = odd_frames(random.Random(SEED), LinkType.ETHERNET, 1500)
    capture = tmp_path / "odd.pcap"
    head = struct.pack(f"{order}IHHIIII", magic, 2, 4, 0, 0, 262144, 1)
    records = b"".join(record(*each, order, per_micro) for each in frames)
    capture.write_bytes(head + records)
    flows, taken, _ = both_ways(lambda: REPLAY.open(capture).batches())
    assert {each.sighting.tunnel.name for each in flows} >= {"ipsec"}
    assert taken > 100


def block(order: str, kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    size = struct.pack(f"{order}I", len(body) + 12)
    return struct.pack(f"{order}I", kind) + size + body + size


@pytest.mark.parametrize("order", ["<", ">"])
def test_several_interfaces_of_one_file(tmp_path: Path, order: str) -> None:
    """pcapng, which is not read in batches: what is found is the same as in pcap."""
    frames = odd_frames(random.Random(SEED), LinkType.ETHERNET, 1500)
    section = struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1)
    blocks = [block(order, 0x0A0D0D0A, section)]
    interface = struct.pack(f"{order}HHI", LinkType.ETHERNET, 0, 0)
    blocks += [block(order, 1, interface)] * 2
    for number, (frame, micro) in enumerate(frames):
        high, low = divmod(START * 1_000_000 + micro, 1 << 32)
        lengths = (len(frame), len(frame))
        fixed = struct.pack(f"{order}IIIII", number % 2, high, low, *lengths)
        blocks.append(block(order, 6, fixed + frame))
    capture = tmp_path / "odd.pcapng"
    capture.write_bytes(b"".join(blocks))
    flows, _, _ = both_ways(lambda: REPLAY.open(capture).batches())
    plain = tmp_path / "odd.pcap"
    head = struct.pack("<IHHIIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1)
    plain.write_bytes(head + b"".join(record(*each, "<") for each in frames))
    assert flows == both_ways(lambda: REPLAY.open(plain).batches())[0]


def test_what_many_sequences_bring_together_by_chance_is_told_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Names are found by a number that others may share: here all of them do."""
    monkeypatch.setattr(esp_columns, "_MIXED", esp_columns._MIXED * 0)
    frames = odd_frames(random.Random(SEED), LinkType.RAW, 1500)
    both_ways(lambda: batches(frames, LinkType.RAW, 64))


@pytest.mark.parametrize(("tagged", "few"), [(False, False), (True, True)])
def test_rows_that_end_soon_are_looked_for_seldomer_and_seldomer(
    monkeypatch: pytest.MonkeyPatch, *, tagged: bool, few: bool
) -> None:
    """One direction of a tunnel has a tag, as at some mirror ports."""
    plain, tag = LAYOUTS[LinkType.ETHERNET][:2]
    layouts = (plain, tag if tagged else plain)
    frames = [
        (
            framed(
                layouts[n % 2], esp(n % 2, 0x1000 + 2 * (n % 2), 1 + n // 2, ipv6=False)
            ),
            1000 * n,
        )
        for n in range(20_000)
    ]
    looks = 0
    columns = esp_columns.columns

    def counting(*given: Any) -> esp_columns.EspRow | None:
        nonlocal looks
        looks += 1
        return columns(*given)

    monkeypatch.setattr(esp_columns, "columns", counting)
    monkeypatch.setattr(steady, "_WORTHWHILE", 5000)
    left = Left.__new__(Left)
    given = lambda: batches(frames, LinkType.ETHERNET, 512)  # noqa: E731
    _, seen = left.of(given, monkeypatch)
    assert len(seen) < 100, "it has not settled: nothing is shown"
    assert 0 < looks < (12 if few else 100)


@pytest.mark.parametrize(
    ("fraction", "at_once"), [(0.05, True), (0.9, False), (None, False)]
)
def test_numpy_is_loaded_where_enough_is_to_come(
    monkeypatch: pytest.MonkeyPatch, fraction: float | None, *, at_once: bool
) -> None:
    frames = [
        (esp(n % 2, 0x1000 + 2 * (n % 2), 1 + n // 2, ipv6=False), 1000 * n)
        for n in range(4000)
    ]
    looks: list[None] = []
    monkeypatch.setattr(esp_columns, "columns", lambda *_: looks.append(None))

    class Capture:
        batches = staticmethod(lambda: batches(frames, LinkType.RAW, 500))

    Capture.fraction = fraction  # type: ignore[attr-defined]
    assert list(REPLAY.flows(Capture()))  # type: ignore[arg-type]
    assert bool(looks) is at_once
