# SPDX-License-Identifier: GPL-2.0-or-later
"""A registry of any size, seeded, and addresses to ask it about; does not measure."""

import json
import random
from collections.abc import Iterator
from ipaddress import IPv6Address
from pathlib import Path

from vpngate.packets import Family
from vpngate.registry import Registry

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


def probes(
    registry: Registry, rng: random.Random, count: int = 50_000
) -> dict[str, list[bytes]]:
    """Addresses inside the registry, and any, of both families."""
    found = {}
    for family in Family:
        first, last = registry.current.of(family).bounds
        picks = [rng.randrange(len(first)) for _ in range(count)]
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
            for _ in range(count)
        ]
    return found
