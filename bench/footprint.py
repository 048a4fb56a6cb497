# SPDX-License-Identifier: GPL-2.0-or-later
"""What a process takes of memory and processors, and the kernel of memory."""

import os
import re
from pathlib import Path

from tests.lab import descriptors

_STATUS = "/proc/{}/status"
_TICKS = os.sysconf("SC_CLK_TCK")


def resident(process: int | str = "self") -> float:
    """MiB that a process has now."""
    return _kilobytes(_STATUS.format(process), "VmRSS") / 1024


def peak(process: int | str = "self") -> float:
    """The most MiB it has had. Not getrusage: that knows who started the process."""
    return _kilobytes(_STATUS.format(process), "VmHWM") / 1024


def used(process: int) -> float:
    """Seconds of a processor that it has had so far."""
    text = Path(f"/proc/{process}/stat").read_text()
    user, system = text.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / _TICKS


def kernel_objects() -> float:
    """MiB of the kernel's: objects, per-CPU ones, large tables."""
    keys = ("Slab", "Percpu", "VmallocUsed")
    return sum(_kilobytes("/proc/meminfo", key) for key in keys) / 1024


def maps(process: int | str = "self") -> float:
    """MiB of the eBPF maps that a process holds, as the kernel accounts for them.

    Its own memory has those that are mapped into it, the kernel's objects the rest.
    """
    held = {
        told["map_id"]: int(told["memlock"])
        for told in descriptors.told_of(process)
        if "map_type" in told
    }
    return sum(held.values()) / (1 << 20)


def _kilobytes(path: str, key: str) -> int:
    found = re.search(rf"^{key}:\s+(\d+)", Path(path).read_text(), re.MULTILINE)
    return int(found[1]) if found else 0
