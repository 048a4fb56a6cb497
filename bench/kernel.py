# SPDX-License-Identifier: GPL-2.0-or-later
"""What rows that fill the kernel share: intervals, a ruleset, flows, a namespace.

Knows the prefixes of `bench.registry`, both families and nested, merged as the kernel
needs them, and the same for `nft -f`; does not measure.
"""

import contextlib
import ipaddress
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench.registry import SEED, prefixes
from tests.lab.namespaces import Namespace
from tests.rulesets import RULESET
from vpngate.packets import Endpoint, Family, Transport
from vpngate.policy import Throttle
from vpngate.prefixes.intervals import Bounds, Intervals
from vpngate.prefixes.prefix import host_masks
from vpngate.ruleset import Ruleset

DEVICE = "lan0"
# 10.0.0.0/8 and 100.64.0.0/10, where flows have their ends; no prefix is as short.
_IS_OF_FLOWS = re.compile(r"10\.|100\.(6[4-9]|[7-9]\d|1[01]\d|12[0-7])\.").match


def nested(count: int) -> Intervals:
    """A registry's prefixes, merged."""
    return Intervals.of_prefixes(prefixes(count))


def beside_flows(count: int) -> Intervals:
    """As many, none of which holds an end of a `flow`.

    The others cover nearly all of IPv4 when they are a million: nobody is slowed there.
    """
    some = (each for each in prefixes(count + count // 50) if not _IS_OF_FLOWS(each))
    return Intervals.of_prefixes(islice(some, count))


def disjoint(count: int) -> Intervals:
    """Prefixes of which no two even touch: as many intervals as there can be."""
    random = np.random.default_rng(SEED)
    six = count // 5
    four = random.choice(0x0C000000 >> 1, count - six, replace=False) * 2 + (1 << 27)
    start = (four.astype(np.uint64) << 4).astype(">u4").view(np.uint8).reshape(-1, 4)
    upper = random.choice(1 << 27, six, replace=False).astype(np.uint64) * 2
    high = (upper + (0x2400 << 48)).astype(">u8").view(np.uint8).reshape(-1, 8)
    low = np.zeros_like(high)
    return Intervals.of_bounds(
        {
            Family.IPV4: Bounds(start, start | host_masks(Family.IPV4)[28]),
            Family.IPV6: Bounds(np.hstack([high, low]), np.hstack([high, ~low])),
        }
    )


def ruleset(spared: Intervals) -> Ruleset:
    return replace(RULESET, interfaces=(DEVICE,), max_flows=1_000_000, spared=spared)


def flow(number: int, subscribers: int = 20_000, idle: int = 180) -> Throttle:
    subscriber = (0x64400000 + number % subscribers).to_bytes(4, "big")
    remote = Endpoint((0x0A000000 + number).to_bytes(4, "big"), 51820)
    end = Endpoint(subscriber, 1024 + number % 60_000)
    return Throttle(Transport.UDP, end, remote, subscriber, idle)


def nft_address(address: npt.NDArray[np.uint8]) -> str:
    """As nft reads it."""
    return str(ipaddress.ip_address(address.tobytes()))


def nft_file(full: Intervals, path: Path) -> None:
    """The same sets as a file for `nft -f`."""
    parts = []
    for family, kind in ((Family.IPV4, "ipv4_addr"), (Family.IPV6, "ipv6_addr")):
        first, last = full.of(family)
        elements = ",".join(
            f"{nft_address(f)}-{nft_address(e)}"
            for f, e in zip(first, last, strict=True)
        )
        parts.append(
            f"set spared_{family.label} {{ type {kind}; flags interval; "
            f"elements = {{ {elements} }} }}"
        )
    path.write_text("table netdev compared {\n" + "\n".join(parts) + "\n}\n")


@contextlib.contextmanager
def gateway(folder: Path) -> Iterator[Namespace]:
    namespace = Namespace("bench", folder)
    try:
        namespace.ip(
            f"link add {DEVICE} type veth peer name far",
            f"link set {DEVICE} up",
            "link set far up",
        )
        yield namespace
    finally:
        namespace.close()
