# SPDX-License-Identifier: GPL-2.0-or-later
"""What a second reading costs: microseconds a confirmation, and confirmations a second.

    python -m bench.second_reading [--rounds N]

Each kind of confirmation in turn, so that a busy moment of the machine hits them all;
then the worst that an attacker can send, messages of IKE and L2TP full of headers.
"""

import argparse
import time
from collections.abc import Callable
from statistics import median, quantiles

from tests.unit.second_reading.confirmations import CONFIRMATIONS, TUNNELS, heard
from tests.unit.second_reading.test_hostile import crowded, full
from vpngate.second_reading import Outcome, second_reading


def cases() -> dict[str, Callable[[], object]]:
    """A confirmation, or one crafted packet, each by its name."""
    found: dict[str, Callable[[], object]] = {}
    for confirmation in CONFIRMATIONS:
        tunnel = TUNNELS[confirmation.tunnel]
        said = heard(tunnel, confirmation.packets())
        assert second_reading(tunnel, said) is Outcome.AGREED
        found[confirmation.name] = lambda t=tunnel, s=said: second_reading(t, s)  # type: ignore[misc]
    crafted = [("as many as fit", *c) for c in crowded()]
    crafted += [("as many as allowed", *c) for c in full()]
    for number, (what, name, packet) in enumerate(crafted, 1):
        read = TUNNELS[name].second()
        size = len(packet.payload)
        key = f"crafted {number}: {name}, {size} bytes, headers {what}"
        found[key] = lambda r=read, p=packet: r(p)  # type: ignore[misc]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=400)
    rounds = parser.parse_args().rounds
    work = cases()
    spent: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(rounds):
        for name, call in work.items():
            before = time.thread_time_ns()
            call()
            spent[name].append((time.thread_time_ns() - before) / 1000)
    print(f"{'':<58}{'median':>9}{'p99':>9}{'a second':>10}")
    for name, times in spent.items():
        middle, late = median(times), quantiles(times, n=100)[98]
        print(f"{name:<58}{middle:>6.0f} µs{late:>6.0f} µs{1e6 / middle:>10.0f}")


if __name__ == "__main__":
    main()
