# SPDX-License-Identifier: GPL-2.0-or-later
"""What a process's eBPF maps hold, asked of the kernel and not of the process.

Knows how a map is found by its holder's descriptors; the layouts are the data plane's
own. Root alone may ask.
"""

import bisect
import os
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import NamedTuple, cast

import numpy as np

from tests.lab import descriptors
from vpngate.kernel.bpf.maps import Map, MapLayout, index
from vpngate.kernel.bpf.plane_maps import ARMED_AT, COUNT_SIZE, COUNTED, UNTIL_AT
from vpngate.kernel.bpf.spared_arrays import Searched
from vpngate.kernel.bpf.syscall import (
    CallAttributes,
    Command,
    MapKind,
    address,
    call,
)
from vpngate.kernel.programmed.memory import set_memory
from vpngate.packets import Family, parse_address

_MAP_BY_ID = cast("Command", 14)
_INFO, _NAME_AT, _NAME = 256, 24, 16  # of struct bpf_map_info


class Found(NamedTuple):
    """A map by its name, as the kernel has it."""

    name: str
    map: Map


@contextmanager
def maps_of(pid: int) -> Iterator[list[Found]]:
    """All maps that a process holds, but for its stages (`stage_arrays`)."""
    with _opened_all(pid, kept=lambda kind: kind != MapKind.PROGRAM_ARRAY) as found:
        yield found


@contextmanager
def stage_arrays(pid: int) -> Iterator[list[Found]]:
    """The arrays of programs that a process holds.

    They would outlive it for as long as they are open here.
    """
    with _opened_all(pid, kept=lambda kind: kind == MapKind.PROGRAM_ARRAY) as found:
        yield found


@contextmanager
def _opened_all(pid: int, kept: Callable[[int], bool]) -> Iterator[list[Found]]:
    with ExitStack() as stack:
        found = []
        for number in sorted(n for n, kind in _numbers(pid).items() if kept(kind)):
            descriptor = call(_MAP_BY_ID, CallAttributes("I", number), "open a map")
            one = _opened(descriptor)
            stack.enter_context(closing(one.map))
            found.append(one)
        yield found


def _numbers(pid: int) -> dict[int, int]:
    """The kind of each map that a process holds, by its number."""
    return {
        int(told["map_id"]): int(told["map_type"])
        for told in descriptors.told_of(pid)
        if "map_type" in told
    }


def _opened(descriptor: int) -> Found:
    info = bytearray(_INFO)
    attributes = CallAttributes("IIQ", descriptor, len(info), address(info))
    call(Command.OBJECT_INFO, attributes, "ask for a map")
    kind, _, *sizes = struct.unpack_from("=6I", info)
    name = info[_NAME_AT : _NAME_AT + _NAME].split(b"\0")[0].decode()
    made = Map.__new__(Map)
    made.name, made.descriptor = name, descriptor
    made.layout = MapLayout(cast("MapKind", kind), *sizes)
    return Found(name, made)


def is_armed(pid: int) -> bool:
    """Whether the kernel would slow anybody, at this moment and by itself."""
    return left(pid) > 0


def left(pid: int) -> float:
    """Seconds until the kernel stops slowing, were it not told again."""
    with maps_of(pid) as found:
        (times,) = (one.map for one in found if one.name == "times")
        value = times.get(index(0)) or b""
    (until,) = struct.unpack_from("=Q", value, ARMED_AT)
    return max(0.0, (int(until) - time.monotonic_ns()) / 1e9)


def counted(pid: int, counter: str) -> int:
    """Packets of a counter."""
    with maps_of(pid) as found:
        (counters,) = (one.map for one in found if one.name == "counters")
        size = len(COUNTED) * COUNT_SIZE
        whole = counters.get(index(0), size * (os.cpu_count() or 1) * 8) or b""
    rows = np.frombuffer(whole, "<u8").reshape(-1, len(COUNTED), 2)
    return int(rows[:, COUNTED.index(counter), 0].sum())


def verdicts(pid: int, name: str) -> list[bytes]:
    """The keys of the verdicts in a map that have not ended."""
    keys = []
    with maps_of(pid) as found:
        (flows,) = (one.map for one in found if one.name == name)
        for packed, values, count in flows.items():
            width, size = len(packed) // max(count, 1), len(values) // max(count, 1)
            for at in range(count):
                (until,) = struct.unpack_from("=Q", values, at * size + UNTIL_AT)
                if until > time.monotonic_ns():
                    keys.append(packed[at * width : (at + 1) * width])
    return keys


def spared(pid: int) -> dict[str, str]:
    """The bounds of registered addresses, by family."""
    found = {}
    for family in Family:
        parts = _bounds(pid, family).parts
        found[f"spared_{family.label}"] = b"".join(p.tobytes() for p in parts).hex()
    return found


def spares(pid: int, asked: str) -> bool:
    """Whether registered addresses hold this one, now."""
    family = Family.IPV6 if ":" in asked else Family.IPV4
    row = np.frombuffer(parse_address(asked), np.uint8).reshape(1, -1)
    return _bounds(pid, family).starts(row) != [None]


def around(pid: int, asked: str) -> tuple[int, int]:
    """First and last address of the interval that holds this one; LookupError if none.

    Another registry may be in place of this one from one moment to the next.
    """
    family = Family.IPV6 if ":" in asked else Family.IPV4
    address = int.from_bytes(parse_address(asked), "big")
    for part in _bounds(pid, family).parts:
        words = part[:-1].tolist()
        bounds = words if family is Family.IPV4 else [u << 64 | low for u, low in words]
        place = bisect.bisect_right(bounds, address)
        if place % 2:
            return bounds[place - 1], bounds[place] - 1
    raise LookupError(f"{asked} is not spared")


def _bounds(pid: int, family: Family) -> set_memory.ReadBounds:
    with maps_of(pid) as found:
        parts = [one.map for one in found if one.name == f"spared_{family.label}"]
        return set_memory.of_large(family, Searched(tuple(parts), (), 0))
