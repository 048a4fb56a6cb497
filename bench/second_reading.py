# SPDX-License-Identifier: GPL-2.0-or-later
"""What a second reading costs, of each kind of confirmation and of hostile packets.

A row of the bench.
"""

import time
from collections.abc import Callable, Iterator
from statistics import fmean

from bench.contract import Curve, Effort, Figure, Row, condensed, summary
from tests.unit.second_reading.confirmations import CONFIRMATIONS, TUNNELS, heard
from tests.unit.second_reading.test_hostile import crowded, full
from vpngate.second_reading import Outcome, second_reading

_UNIT = "µs of a processor"

_Cases = dict[str, Callable[[], object]]


def measure(effort: Effort) -> Iterator[Figure | Curve]:
    rounds = effort.pick(whole=300, quick=60, tiny=3)
    of_kind: dict[str, list[list[float]]] = {}
    for name, times in _spent(_confirmations(), rounds).items():
        of_kind.setdefault(_kind(name), []).append(times)
    for kind, all_times in of_kind.items():
        means = [fmean(turn) for turn in zip(*all_times, strict=True)]
        note = f"{len(all_times)} kinds of them" if len(all_times) > 1 else ""
        yield Figure(kind, _UNIT, "vpngate", condensed(means, 20), note=note)
    hostile = _spent(_hostile(), max(2, rounds // 4))
    worst = max(hostile, key=lambda name: summary(hostile[name]).median)
    yield Figure(
        "the worst of crafted packets",
        _UNIT,
        "vpngate",
        condensed(hostile[worst], 20),
        note=f"of {len(hostile)}: {worst}",
    )


def _kind(name: str) -> str:
    """What a confirmation is called without its variant."""
    words = name.split(", ")
    return ", ".join(words[: 2 if words[0] == "OpenVPN" else 1])


def _confirmations() -> _Cases:
    found: _Cases = {}
    for confirmation in CONFIRMATIONS:
        tunnel = TUNNELS[confirmation.tunnel]
        said = heard(tunnel, confirmation.packets())
        assert second_reading(tunnel, said) is Outcome.AGREED
        found[confirmation.name] = lambda t=tunnel, s=said: second_reading(t, s)  # type: ignore[misc]
    return found


def _hostile() -> _Cases:
    """Messages of IKE and L2TP full of headers."""
    found: _Cases = {}
    crafted = [("as many as fit", *c) for c in crowded()]
    crafted += [("as many as allowed", *c) for c in full()]
    for number, (what, name, packet) in enumerate(crafted, 1):
        read = TUNNELS[name].second()
        size = len(packet.payload)
        key = f"{name}, {size} bytes, headers {what} ({number})"
        found[key] = lambda r=read, p=packet: r(p)  # type: ignore[misc]
    return found


def _spent(cases: _Cases, rounds: int) -> dict[str, list[float]]:
    """Microseconds of each, all in turn."""
    spent: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, call in cases.items():
            before = time.thread_time_ns()
            call()
            spent[name].append((time.thread_time_ns() - before) / 1000)
    return spent


ROW = Row(
    "second_reading",
    "A second reading",
    measure,
    seconds=40,
    about=(
        "What confirmed a flow is read again by scapy's classes before anything is "
        "slowed. A fifth of a core may go into that: a reading of 200 µs can be had "
        "1,000 times a second."
    ),
)
