# SPDX-License-Identifier: GPL-2.0-or-later
"""How many WireGuard handshakes the daemon carries, and how soon each has its verdict.

A row of the bench.
"""

from collections.abc import Iterator

from bench.contract import Curve, Effort, Figure, Row
from bench.gate import Gate, Seen, gate

COPIES = 200_000  # capture.packets_per_second
PROMISED = 1000  # complete handshakes a second
_MOST_LOST = 0.01
_SUBSCRIBERS = 2000
_LATE = 1000.0  # milliseconds
_FASTER = 1.3  # from one rate tried to the next
_FASTEST = 10_000


def measure(effort: Effort) -> Iterator[Figure | Curve]:
    """Figures of one daemon."""
    turns = effort.pick(whole=5, quick=2, tiny=1)
    seconds = effort.pick(whole=6.0, quick=2.0, tiny=1.0)
    rate = effort.pick(whole=PROMISED, quick=PROMISED, tiny=100)
    with gate(COPIES) as at:
        long = effort.pick(whole=60.0, quick=5.0, tiny=1.0)
        yield from _sustained(at.handshakes(rate, long, _SUBSCRIBERS), rate, long)
        seen = [at.handshakes(rate, seconds, _SUBSCRIBERS) for _ in range(turns)]
        yield Figure(
            f"a core carries, at {rate:,} a second",
            "handshakes a second",
            what="vpngate",
            ours=[one.a_core for one in seen],
            note="verdicts to the seconds of a processor that the daemon had for them",
        )
        fastest = effort.pick(whole=_FASTEST, quick=_FASTEST, tiny=150)
        most = _most(at, rate, fastest, seconds)
        yield Figure(
            "most that were carried, less than 1 % lost or a second late",
            "handshakes a second",
            what="vpngate",
            ours=[most],
        )
        yield from _latencies(at, most, turns, seconds)


def _sustained(seen: Seen, rate: float, seconds: float) -> Iterator[Figure]:
    name = f"{rate:,.0f} a second for {seconds:.0f} s"
    yield Figure(
        f"{name}, without a verdict",
        "%",
        what="vpngate",
        ours=[seen.lost * 100],
        at_most=_MOST_LOST * 100,
        note=f"of {seen.sent:,}; {seen.no_room} frames found no room on the wire",
    )
    yield from _of_latency(name, [seen])
    yield Figure(
        f"{name}, of a processor", "%", what="vpngate", ours=[100 * _share(seen)]
    )


def _share(seen: Seen) -> float:
    return seen.used / seen.seconds


def _most(at: Gate, rate: float, fastest: float, seconds: float) -> float:
    """The highest rate tried at which next to nothing is lost, or late."""
    most = 0.0
    while rate <= fastest:
        seen = at.handshakes(rate, seconds, _SUBSCRIBERS)
        # What only waits longer and longer would be lost in the end.
        if seen.lost > _MOST_LOST or seen.percentile(99) > _LATE:
            break
        most, rate = rate, rate * _FASTER
    return most or seen.rate


def _latencies(at: Gate, most: float, turns: int, seconds: float) -> Iterator[Figure]:
    """Each part of the most, in turn."""
    parts = (0.1, 0.5, 0.9)
    seen: dict[float, list[Seen]] = {part: [] for part in parts}
    for _ in range(turns):
        for part in parts:
            seen[part].append(at.handshakes(part * most, seconds, _SUBSCRIBERS))
    for part, each in seen.items():
        yield from _of_latency(f"at {part:.0%} of that", each)


def _of_latency(name: str, seen: list[Seen]) -> Iterator[Figure]:
    for part in (50, 99):
        yield Figure(
            f"{name}, answer to verdict, p{part}",
            "ms",
            what="vpngate",
            ours=[one.percentile(part) for one in seen],
        )


ROW = Row(
    "handshakes",
    "Handshakes that one daemon carries",
    measure,
    seconds=280,
    root=True,
    about=(
        "Complete WireGuard handshakes cross a gateway at random moments, each of a "
        f"new flow, of {_SUBSCRIBERS:,} subscribers and as many servers as flows: an "
        "initiation, and 20 ms later its answer. Each is recognised, read a second "
        "time, and slowed. Latency is from the answer on the wire to the moment when "
        "the kernel announces the verdict, seen from outside the daemon; of programs "
        "to when the call that writes it has returned in there. That one "
        "enforces with settings as shipped but for "
        f"`capture.packets_per_second = {COPIES}`."
    ),
)
