# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel would do by itself, asked past the daemon while all of it changes.

Knows how nft(8) is asked of the one data plane, and programs and their maps of the
other; does not know what the answers should be. A daemon that is gone has nothing.
"""

import contextlib
import json
import socket
from collections.abc import Callable, Collection
from typing import Any, TypeVar

from tests.lab import bpf_daemon
from tests.lab.namespaces import LabError, Namespace
from tests.lab.standing import programs_at, stages_of
from tests.planes import PLANE
from vpngate.config import Plane
from vpngate.kernel.bpf.maps import index
from vpngate.kernel.bpf.plane_maps import STAGES
from vpngate.kernel.bpf.syscall import BpfRefused
from vpngate.packets import Direction
from vpngate.ruleset import names

# What a change cuts short, or takes away between question and answer, is over in
# milliseconds.
_ATTEMPTS = 20
_THROTTLED = tuple(names.throttled_counter(direction) for direction in Direction)

_Answer = TypeVar("_Answer")


def is_armed(gateway: Namespace, pid: int) -> bool:
    """Whether the kernel would slow anybody, at this moment and by itself."""
    if PLANE is Plane.EBPF:
        return _of_maps(pid, "times", lambda: bpf_daemon.is_armed(pid), otherwise=False)
    listed = _listed(gateway, "set", "netdev", "vpngate", names.ARMED)
    return any(part.get("set", {}).get("elem") for part in listed)


def slowed(gateway: Namespace, pid: int) -> int:
    """Packets that were slowed until now, as the kernel counts; 0 with no plane."""
    if PLANE is Plane.EBPF:

        def count() -> int:
            return sum(bpf_daemon.counted(pid, name) for name in _THROTTLED)

        return _of_maps(pid, "counters", count, otherwise=0)
    return sum(
        part["counter"]["packets"]
        for part in _listed(gateway, "counters", "table", "netdev", "vpngate")
        if part.get("counter", {}).get("name") in _THROTTLED
    )


def standing(gateway: Namespace, devices: Collection[str]) -> list[int]:
    """The numbers of the programs at interfaces; none over nftables."""
    if PLANE is not Plane.EBPF:
        return []

    def there() -> list[int]:
        found = []
        for device in devices:
            with contextlib.suppress(OSError):  # it is not there
                found += programs_at(socket.if_nametoindex(device))
        return found

    return gateway.call(lambda: _again(there))


def leads_on(gateway: Namespace, devices: Collection[str]) -> bool:
    """Whether any program at these has a stage to go on at: without, none acts."""

    def count() -> int:
        return sum(map(stages_of, standing(gateway, devices)))

    return _again(count) > 0


def slots(pid: int) -> dict[int, bytes]:
    """The numbers of the programs that packets go on at, by stage."""

    def read() -> dict[int, bytes]:
        with bpf_daemon.stage_arrays(pid) as arrays:
            (stages,) = (one.map for one in arrays)
            held = ((n, stages.get(index(n))) for n in range(STAGES))
            return {number: program for number, program in held if program}

    return _again(read)


def _of_maps(
    pid: int, name: str, ask: Callable[[], _Answer], *, otherwise: _Answer
) -> _Answer:
    """The answer, or the other where a process has no such map, or is gone."""

    def asked() -> _Answer:
        with bpf_daemon.maps_of(pid) as found:
            there = any(one.name == name for one in found)
        return ask() if there else otherwise

    try:
        return _again(asked)
    except (FileNotFoundError, ProcessLookupError):
        return otherwise


def _again(ask: Callable[[], _Answer]) -> _Answer:
    """The answer, also where something goes between two questions."""
    for _ in range(_ATTEMPTS):
        try:
            return ask()
        except (BpfRefused, ValueError) as error:
            last = error
    raise LabError(f"programs cannot be asked: {last}")


def _listed(gateway: Namespace, *what: str) -> list[dict[str, Any]]:
    """What nft lists of the table; nothing where there is none."""
    for _ in range(_ATTEMPTS):
        try:
            answer = gateway.run("nft", "-j", "list", *what)
        except LabError as error:
            if "No such file" in str(error):
                return []
            last = error  # a change has cut it short
        else:
            found: list[dict[str, Any]] = json.loads(answer)["nftables"]
            return found
    raise last
