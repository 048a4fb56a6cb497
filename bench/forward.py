# SPDX-License-Identifier: GPL-2.0-or-later
"""What the table costs ordinary traffic, beside forwarding it by a bare port.

How it is measured is said in `bench.ports`. `hooked` and `programmed` are vpngate's
planes, of nftables and of eBPF, each with a million registered prefixes; `filtered` is
the latter as it stands on kernels without TCX. With no verdict they have slowed nobody
for so long that packets are asked for none. `set` is how it would be done with nft
alone: both addresses of every packet are looked up in an interval set of the same
prefixes.

Run as root, with gcc.
"""

import asyncio
import contextlib
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

from bench.contract import Effort, Figure, Row, condensed, summary
from bench.kernel import beside_flows, flow, nft_file, ruleset
from bench.ports import BARE, DEAF, HOW, Gateway, Measure, Slices, gateway
from bench.traffic import KINDS
from vpngate.kernel.bpf_steps import BpfSteps
from vpngate.kernel.detour.verdict_lines import QUIET
from vpngate.kernel.live import LiveDataPlane
from vpngate.kernel.programmed.attachments.by_filters import ByFilters
from vpngate.kernel.steps import Steps
from vpngate.policy import Throttle
from vpngate.prefixes.intervals import Intervals

_Result = TypeVar("_Result")

HOOKED, PROGRAMMED, FILTERED, SET = "hooked", "programmed", "filtered", "set"
PLANES = {HOOKED: "nftables", PROGRAMMED: "eBPF", FILTERED: "eBPF by filters"}


class Most(NamedTuple):
    """What a packet may cost more, as a part of what forwarding a bare one costs.

    `any_other` is for what is neither plain UDP nor the mix.
    """

    observing: float
    enforcing: float
    any_other: float = 0.0

    def of(self, kind: str, *, enforcing: bool) -> float:
        """The bound for a kind of traffic."""
        most = self.enforcing if enforcing else self.observing
        return round(most if kind in _USUAL else most + self.any_other, 2)


AT_MOST = {
    HOOKED: Most(0.45, 0.75),
    PROGRAMMED: Most(0.14, 0.18, 0.05),
    FILTERED: Most(0.28, 0.28, 0.05),
}
_USUAL = ("udp", "mix")
_LEFT = "A gateway that does nothing else forwards {:.2f} of the packets it did."
_AT_ONCE = 5000  # verdicts asked for in one go
_SUBSCRIBERS = 500
_DEADMAN = 3600.0  # seconds: nobody re-arms meanwhile
_IDLE = 600
_AT_REST = QUIET + 15.0  # seconds until packets are asked for no verdict: a few looks


class Hooked:
    """A data plane at one port of the gateway."""

    def __init__(
        self, at: Gateway, full: Intervals, port: str, steps: Steps | None = None
    ) -> None:
        self._at = at
        self._loop = asyncio.new_event_loop()
        self._plane = LiveDataPlane(steps=steps)
        self._rules = replace(
            ruleset(full),
            table=f"vpngate_{port}",
            interfaces=(at.device(port),),
            deadman=_DEADMAN,
        )
        self._there = 0

    def observe(self) -> None:
        """Start, with nothing to ask for but signatures."""
        self._run(self._plane.start(replace(self._rules, enforce=False)))

    def enforce(self) -> None:
        """Act on verdicts, of which there are none yet."""
        self._run(self._plane.replace(self._rules))
        self._run(self._plane.rearm())

    def be_idle(self, seconds: float) -> None:
        """Slow nobody for so long: it looks after what is not needed any more."""
        self._run(asyncio.sleep(seconds))

    def have(self, verdicts: int) -> None:
        """Have so many verdicts, on flows that send nothing; RuntimeError if not."""
        for start in range(self._there, verdicts, _AT_ONCE):
            last = min(verdicts, start + _AT_ONCE)
            self._run(self._plane.throttle([_one(n) for n in range(start, last)]))
        self._there = max(self._there, verdicts)
        there = len(self._run(self._plane.slowed()))
        if there != verdicts:
            raise RuntimeError(f"{there} verdicts live of {verdicts}")

    def close(self) -> None:
        """Leave nothing behind."""
        self._run(self._plane.stop())
        self._loop.close()

    def _run(self, work: Coroutine[None, None, _Result]) -> _Result:
        return self._at.inner.call(lambda: self._loop.run_until_complete(work))


def _one(number: int) -> Throttle:
    return flow(number, _SUBSCRIBERS, _IDLE)


def figures(
    title: str, port: str, found: Slices, most: Callable[[str], float] | None = None
) -> Iterator[Figure]:
    """A figure for each kind of traffic: what the port adds to forwarding it."""
    for kind in KINDS:
        bare = found[kind, BARE]
        added = condensed((found[kind, port] - bare).tolist())
        forwarding = condensed((bare - found[kind, DEAF]).tolist())
        ratio = summary([a / b for a, b in zip(added, forwarding, strict=True)]).median
        yield Figure(
            f"{kind}, {title}",
            "ns a packet",
            "vpngate adds" if port in PLANES else "an interval set adds",
            added,
            "forwarding by a bare port",
            forwarding,
            at_most=most and most(kind),
            # Once a table: the others say it by their ratios.
            note=_LEFT.format(1 / (1 + ratio)) if kind == "udp" else "",
        )


def _both_ways(
    at: Gateway, measure: Measure, seconds: float, title: str, *, enforcing: bool
) -> Iterator[Figure]:
    """As a router, and masquerading; all planes and the bare port in turn."""
    found = measure.slices(seconds, (*AT_MOST, BARE))
    yield from _of_each(f"{title}, routed", found, enforcing=enforcing)
    with at.masquerading():
        found = measure.slices(seconds, (*AT_MOST, BARE))
    yield from _of_each(f"{title}, masquerading", found, enforcing=enforcing)


def _of_each(title: str, found: Slices, *, enforcing: bool) -> Iterator[Figure]:
    for port, most in AT_MOST.items():
        bound = partial(most.of, enforcing=enforcing)
        yield from figures(f"{PLANES[port]}, {title}", port, found, bound)


def _interval_set(at: Gateway, full: Intervals, folder: Path) -> None:
    """`set` looks up both addresses of every packet, as `nft` alone would."""
    file = folder / "set.nft"
    nft_file(full, file)
    at.inner.run("nft", "-f", str(file), timeout=600)
    file.write_text(
        "table netdev compared { chain ingress {\n"
        f"type filter hook ingress device {at.device(SET)} priority 0;\n"
        "ip saddr @spared_ipv4 accept; ip daddr @spared_ipv4 accept\n"
        "ip6 saddr @spared_ipv6 accept; ip6 daddr @spared_ipv6 accept\n}\n}\n"
    )
    at.inner.run("nft", "-f", str(file))


def measured(effort: Effort) -> Iterator[Figure]:
    """Observing, then enforcing with ever more verdicts; then nft alone."""
    prefixes = effort.pick(whole=1_000_000, quick=100_000, tiny=1000)
    counts = effort.pick(whole=(0, 3000, 100_000), quick=(0, 100_000), tiny=(0, 100))
    seconds = effort.pick(whole=8.0, quick=1.5, tiny=0.3)
    full = beside_flows(prefixes)
    with (
        tempfile.TemporaryDirectory() as name,
        gateway(Path(name), (*AT_MOST, BARE, SET)) as at,
        contextlib.ExitStack() as stack,
    ):
        measure = Measure(at, Path(name))
        planes = [
            Hooked(at, full, HOOKED),
            Hooked(at, full, PROGRAMMED, BpfSteps()),
            Hooked(at, full, FILTERED, BpfSteps(ByFilters)),
        ]
        for one in planes:
            stack.callback(one.close)
            one.observe()
        yield from _both_ways(at, measure, seconds, "observing", enforcing=False)
        for one in planes:
            one.enforce()
        planes[0].be_idle(effort.pick(whole=_AT_REST, quick=_AT_REST, tiny=0.0))
        for count in counts:
            for one in planes:
                one.have(count)
            title = f"enforcing, {count:,} verdicts"
            yield from _both_ways(at, measure, seconds, title, enforcing=True)
        stack.close()
        _interval_set(at, full, Path(name))
        found = measure.slices(seconds, (SET, BARE))
        yield from figures(f"{len(full):,} intervals on every packet", SET, found)


ROW = Row(
    "forward",
    "What forwarding an ordinary packet costs more",
    measured,
    seconds=240,
    root=True,
    about=f"{HOW} Each plane has a million registered prefixes; last comes how it "
    "would be done with nft alone, both ends of every packet looked up in them.",
)
