# SPDX-License-Identifier: GPL-2.0-or-later
"""How long a registry of a million prefixes takes, and how much memory.

    python bench/registry.py [--prefixes N] [--rounds N] [--kind csv|json|dated]

Each load runs in a fresh process, so that the peak is its own; the figures are
medians of the rounds.
"""

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from ipaddress import IPv6Address
from pathlib import Path

SEED = 20261
NOW = 1.8e9
TOPS = [0x2001, 0x2C0F, *range(0x2400, 0x2410), *range(0x2600, 0x2611)]
TOPS += [*range(0x2800, 0x2807), *range(0x2A00, 0x2A15)]
MIB = 2**20


def prefixes(count: int, seed: int = SEED) -> Iterator[str]:
    """Seeded prefixes of both families; one in four lies inside an earlier one."""
    rng = random.Random(seed)
    outer: list[tuple[int, int, int]] = []
    seen: set[tuple[int, int, int]] = set()
    while len(seen) < count:
        if outer and rng.random() < 0.25:
            bits, network, length = rng.choice(outer)
            inner = rng.randint(length + 1, min(length + 12, bits))
            network |= rng.getrandbits(inner - length) << (bits - inner)
        else:
            bits = 32 if rng.random() < 0.7 else 128
            inner = rng.randint(16, 28) if bits == 32 else rng.randint(32, 64)
            network = rng.getrandbits(bits) >> (bits - inner) << (bits - inner)
            if bits == 128:  # where the regional registries hand them out
                network = network & ~(0xFFFF << 112) | rng.choice(TOPS) << 112
        key = (bits, network, inner)
        if key in seen or (bits == 32 and inner < 9):
            continue
        seen.add(key)
        if inner < bits - 8 and len(outer) < count // 10:
            outer.append(key)
        yield f"{_address(bits, network)}/{inner}"


def _address(bits: int, number: int) -> str:
    if bits == 32:
        return ".".join(map(str, number.to_bytes(4, "big")))
    return str(IPv6Address(number))


def rows(count: int, kind: str) -> Iterator[str]:
    """Registry rows, without a header."""
    rng = random.Random(SEED + 1)
    for prefix in prefixes(count):
        number = rng.randrange(count)
        if kind == "dated":  # each row with dates of its own
            until = f"20{rng.randint(30, 60)}-0{rng.randint(1, 9)}-1{rng.randrange(10)}"
            clock = (
                f"{rng.randrange(10, 24)}:{rng.randrange(10, 60)}:{number % 50 + 10}"
            )
            yield f"{prefix},R-{number},wireguard,2024-01-01T{clock}Z,{until}T{clock}Z"
        else:
            yield f"{prefix},R-{number},wireguard+openvpn,2024-01-01,2036-01-01"


def write(path: Path, count: int, kind: str) -> None:
    with path.open("w") as out:
        if kind != "json":
            out.write("prefix,registration,tunnels,valid_from,valid_until\n")
            out.writelines(f"{row}\n" for row in rows(count, kind))
            return
        out.write('{"registry": "bench", "serial": 1, "registrations": [\n')
        for at, row in enumerate(rows(count, kind)):
            prefix, registration, tunnels, since, until = row.split(",")
            item = {
                "prefix": prefix,
                "registration": registration,
                "tunnels": tunnels.split("+"),
                "valid_from": since,
                "valid_until": until,
            }
            out.write((",\n" if at else "") + json.dumps(item))
        out.write("]}\n")


def measure(path: Path) -> dict[str, float]:
    """One load in this process, and what can be asked of it."""
    from vpngate.registry import Limits, load  # noqa: PLC0415  # counted as set-up

    idle = peak_rss()
    data = path.read_bytes()
    begin = time.perf_counter()
    registry = load(data, limits=Limits(), now=NOW).registry
    figures = {"load s": time.perf_counter() - begin, "idle MiB": idle}
    figures["peak MiB"] = peak_rss()
    del data
    begin = time.perf_counter()
    covered = registry.covered(NOW)
    figures["covered s"] = time.perf_counter() - begin
    figures["intervals"] = len(covered)
    rng = random.Random(SEED + 2)
    for name, addresses in probes(registry, rng).items():
        lookup = registry.lookup
        begin = time.perf_counter()
        for address in addresses:
            lookup(address, NOW)
        spent = (time.perf_counter() - begin) / len(addresses)
        figures[f"lookup {name} µs"] = spent * 1e6
    return figures


def peak_rss() -> float:
    """MiB. Not getrusage: that one remembers the process that started this one."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def probes(registry: object, rng: random.Random) -> dict[str, list[bytes]]:
    from vpngate.packets import Family  # noqa: PLC0415
    from vpngate.registry import Registry  # noqa: PLC0415

    assert isinstance(registry, Registry)
    found = {}
    for family in Family:
        first, last = registry.current.of(family).bounds
        picks = [rng.randrange(len(first)) for _ in range(50_000)]
        found[f"hit {family.label}"] = [
            rng.randint(
                int.from_bytes(first[at].tobytes(), "big"),
                int.from_bytes(last[at].tobytes(), "big"),
            ).to_bytes(family.width, "big")
            for at in picks
        ]
        found[f"any {family.label}"] = [
            (rng.choice(TOPS).to_bytes(2, "big") + rng.randbytes(14))
            if family is Family.IPV6
            else rng.randbytes(4)
            for _ in range(50_000)
        ]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prefixes", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--kind", choices=("csv", "json", "dated"), default="csv")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measure(args.measure)))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "registry")
        write(path, args.prefixes, args.kind)
        size = path.stat().st_size / MIB
        print(f"{args.prefixes:,} prefixes, {args.kind}, {size:.0f} MiB")
        results = [one_round(path) for _ in range(args.rounds)]
    for name in results[0]:
        values = sorted(result[name] for result in results)
        median = statistics.median(values)
        print(f"{name:22} {median:12.3f}   ({values[0]:.3f} to {values[-1]:.3f})")


def one_round(path: Path) -> dict[str, float]:
    command = [sys.executable, __file__, "--measure", str(path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


if __name__ == "__main__":
    main()
