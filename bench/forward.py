# SPDX-License-Identifier: GPL-2.0-or-later
"""What the table costs ordinary traffic, beside a bare port of the same gateway.

    python -m bench.forward [--prefixes N] [--verdicts N,N,...] [--seconds S]

Run as root, with gcc; everything happens in network namespaces of its own:

    subscribers ── lan0 (hooked by vpngate) ──┐
                ── lan1 (bare) ───────────────┤ gateway ── wan0 ── the rest, dropped
                ── lan2 (an interval set) ────┤
                ── lan3 (deaf) ───────────────┘

One thread sends slices of 512 to each in turn, and a packet is forwarded before
its sending returns: so that thread's time on a processor says what a packet costs, on
a busy machine, too. Frames to lan3 carry another link address: they cost the sending,
the link and the way up to the gateway's IP, which drops them there. What a bare packet
costs more than those is what is called forwarding: less than it costs a gateway from
wire to wire, so that no ratio flatters. Told are medians of
differences within one turn: what forwarding a bare packet costs, what vpngate adds, in
ns and as a ratio to it, with the quartiles of the turns, and the share of the bare
port's packets that is left of it.

lan2 is how it would be done with nft alone: both addresses of every packet are looked
up in an interval set of the same prefixes.
"""

import argparse
import asyncio
import contextlib
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bench.kernel import flow, nested, nft_file, ruleset
from bench.traffic import KINDS, Port, frames
from tests.lab.namespaces import Namespace
from vpngate.kernel.live import LiveDataPlane
from vpngate.policy import Throttle
from vpngate.prefixes.intervals import Intervals
from vpngate.ruleset import Ruleset

PORTS = ("hooked", "bare", "set", "deaf")
SLICE = 512  # frames, the sender's
NOBODY = bytes.fromhex("020000000001")  # a link address
AT_ONCE = 5000  # verdicts asked for in one go
SUBSCRIBERS = 500
DEADMAN = 3600.0  # seconds: nobody re-arms meanwhile
IDLE = 600

_Slices = dict[tuple[str, str], npt.NDArray[np.float64]]  # by kind and port: ns


class Gateway(NamedTuple):
    subscribers: Namespace
    inner: Namespace
    rest: Namespace
    ports: dict[str, Port]


def _address(namespace: Namespace, device: str) -> bytes:
    text = namespace.run("cat", f"/sys/class/net/{device}/address")
    return bytes.fromhex(text.strip().replace(":", ""))


@contextlib.contextmanager
def gateway(folder: Path) -> Iterator[Gateway]:
    """The gateway, with routes for all that is sent; what leaves it is dropped."""
    with contextlib.ExitStack() as stack:
        made = [Namespace(name, folder) for name in ("subscribers", "gateway", "rest")]
        for one in made:
            stack.callback(one.close)
        subscribers, inner, rest = made
        inner.ip("link set lo up")
        for key in ("ipv4.ip_forward", "ipv6.conf.all.forwarding"):
            inner.sysctl(f"net.{key}", 1)
        for number, name in enumerate(PORTS):
            inner.ip(
                f"link add lan{number} type veth peer name {name} "
                f"netns {subscribers.path}",
                f"addr add 10.1.{number}.1/24 dev lan{number}",
                f"addr add fd00:0:0:{0x100 + number:x}::1/64 dev lan{number} nodad",
                f"link set lan{number} up",
            )
            subscribers.ip(f"link set {name} up")
        inner.ip(f"link add wan0 type veth peer name wan netns {rest.path}")
        rest.ip("link set wan up")
        beyond = _address(rest, "wan").hex(":")
        inner.ip(
            "link set wan0 up",
            "addr add 10.2.0.1/24 dev wan0",
            "addr add fd00:2::1/64 dev wan0 nodad",
            f"neigh replace 10.2.0.2 lladdr {beyond} dev wan0 nud permanent",
            f"neigh replace fd00:2::2 lladdr {beyond} dev wan0 nud permanent",
            "route add default via 10.2.0.2",
            "route add 2000::/3 via fd00:2::2",
        )
        rest.run(
            "nft",
            "add table netdev end; add chain netdev end dropped "
            "{ type filter hook ingress device wan priority 0; policy drop; }",
        )
        ports = {
            name: Port(
                NOBODY if name == "deaf" else _address(inner, f"lan{n}"),
                _address(subscribers, name),
                n,
            )
            for n, name in enumerate(PORTS)
        }
        yield Gateway(subscribers, inner, rest, ports)


class Measure:
    """Sends all kinds of traffic to all ports in turn."""

    def __init__(self, at: Gateway, folder: Path) -> None:
        self._at = at
        self._program = folder / "sender"
        source = Path(__file__).with_name("sender.c")
        subprocess.run(["gcc", "-O2", "-o", self._program, source], check=True)
        self._pairs = []
        for kind, make in KINDS.items():
            for name, port in at.ports.items():
                file = folder / f"{kind}-{name}"
                file.write_bytes(frames(make, port))
                self._pairs.append(((kind, name), name, file))

    def slices(self, seconds: float, *, left_out: Sequence[str] = ()) -> _Slices:
        """Nanoseconds a frame, by kind and port, turn after turn; without cold ones."""
        pairs = [pair for pair in self._pairs if pair[1] not in left_out]
        before = self._arrived()
        words = [word for _, port, file in pairs for word in (port, str(file))]
        command = ("nice", "-n", "-10", str(self._program), f"{seconds:g}")
        told = self._at.subscribers.run(*command, *words)
        lines = [line.split() for line in told.splitlines()]
        self._check(len(lines), len(pairs), self._arrived() - before)
        values = np.array([float(nanoseconds) for _, nanoseconds in lines])
        turns = values.reshape(-1, len(pairs))[8:]
        return {key: turns[:, n] for n, (key, _, _) in enumerate(pairs)}

    def _arrived(self) -> int:
        path = "/sys/class/net/wan/statistics/rx_packets"
        return int(self._at.rest.run("cat", path))

    @staticmethod
    def _check(slices: int, pairs: int, arrived: int) -> None:
        """Packets that were not forwarded would cost next to nothing."""
        ports = pairs // len(KINDS)
        expected = slices * SLICE * (ports - 1) // ports
        if arrived < 0.99 * expected:
            raise SystemExit(f"{arrived:,} of {expected:,} packets were forwarded")


def tell(title: str, slices: _Slices) -> None:
    """A line for each kind of traffic."""
    print(title, flush=True)
    for kind in KINDS:
        bare = slices[kind, "bare"]
        forwarding = float(np.median(bare - slices[kind, "deaf"]))
        for port in PORTS:
            if port in ("bare", "deaf") or (kind, port) not in slices:
                continue
            added = (slices[kind, port] - bare) / forwarding
            low, ratio, high = np.percentile(added, (25, 50, 75))
            print(
                f"  {kind:5} {port:6} bare {forwarding:5.0f} ns, "
                f"{ratio * forwarding:+6.0f} ns: {ratio:.2f} ({low:.2f} to {high:.2f}),"
                f" share {1 / (1 + ratio):.2f}, {len(bare)} turns",
                flush=True,
            )


async def _verdicts(plane: LiveDataPlane, first: int, last: int) -> None:
    def one(number: int) -> Throttle:
        return flow(number, SUBSCRIBERS, IDLE)

    for start in range(first, last, AT_ONCE):
        numbers = range(start, min(last, start + AT_ONCE))
        await plane.throttle([one(number) for number in numbers])


async def hooked(
    full: Intervals, counts: Sequence[int], measure: Measure, seconds: float
) -> None:
    """Observing, then enforcing with ever more verdicts."""
    plane = LiveDataPlane()
    rules: Ruleset = replace(ruleset(full), interfaces=("lan0",), deadman=DEADMAN)
    there = 0
    left_out = ("set",)

    async def figures(title: str) -> None:
        found = await asyncio.to_thread(measure.slices, seconds, left_out=left_out)
        tell(title, found)

    try:
        await plane.start(replace(rules, enforce=False))
        await figures(f"observing, {len(full):,} intervals")
        await plane.replace(rules)
        await plane.rearm()
        for count in counts:
            await _verdicts(plane, there, count)
            there = max(there, count)
            await figures(f"enforcing, {len(full):,} intervals, {there:,} verdicts")
    finally:
        await plane.stop()


def interval_set(at: Gateway, full: Intervals, folder: Path) -> None:
    """lan2 looks up both addresses of every packet, as `nft` alone would."""
    file = folder / "set.nft"
    nft_file(full, file)
    at.inner.run("nft", "-f", str(file), timeout=600)
    file.write_text(
        "table netdev compared { chain ingress {\n"
        "type filter hook ingress device lan2 priority 0;\n"
        "ip saddr @spared_ipv4 accept; ip daddr @spared_ipv4 accept\n"
        "ip6 saddr @spared_ipv6 accept; ip6 daddr @spared_ipv6 accept\n}\n}\n"
    )
    at.inner.run("nft", "-f", str(file))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prefixes", type=int, default=1_000_000)
    parser.add_argument("--verdicts", default="0,3000,100000")
    parser.add_argument("--seconds", type=float, default=6, help="of each measurement")
    parser.add_argument("--no-peer", action="store_true", help="no interval set beside")
    args = parser.parse_args()
    counts = [int(count) for count in args.verdicts.split(",")]
    full = nested(args.prefixes) if args.prefixes else Intervals.empty()
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as name, gateway(Path(name)) as at:
        measure = Measure(at, Path(name))
        at.inner.call(lambda: asyncio.run(hooked(full, counts, measure, args.seconds)))
        if not args.no_peer:
            interval_set(at, full, Path(name))
            found = measure.slices(args.seconds, left_out=("hooked",))
            tell(f"an interval set of {len(full):,} asked for every packet", found)
    print(f"{time.monotonic() - begin:.0f} s")


if __name__ == "__main__":
    main()
