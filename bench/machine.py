# SPDX-License-Identifier: GPL-2.0-or-later
"""What the bench ran on: processor, kernel, and the programs it was compared with.

Nothing that tells one machine of a kind from another: no name, no address, no serial.
"""

import os
import platform
import re
import subprocess
from importlib import metadata
from pathlib import Path

import vpngate
from tests.planes import BY_FILTERS, PLANE

_PACKAGES = ("numpy", "scapy", "pytricia", "py-radix", "nfstream")
_PROGRAMS = {"nft": ("nft", "--version"), "tshark": ("tshark", "--version")}
_VERSION = re.compile(r"\d+(?:\.\d+)+")


def machine() -> dict[str, str]:
    """Each thing and what it is."""
    found = {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "memory": f"{_memory()} MiB",
        "kernel": platform.release(),
        "Python": platform.python_version(),
        "vpngate": vpngate.__version__,
        "data plane": PLANE.value + (", by filters" if BY_FILTERS else ""),
    }
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    for name, command in _PROGRAMS.items():
        if version := _version(command):
            found[name] = version
    return found


def _processor() -> str:
    text = Path("/proc/cpuinfo").read_text()
    named = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return named[1] if named else platform.machine()


def _memory() -> int:
    text = Path("/proc/meminfo").read_text()
    total = re.search(r"^MemTotal:\s*(\d+)", text)
    return int(total[1]) // 1024 if total else 0


def _version(command: tuple[str, ...]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    found = _VERSION.search(done.stdout)
    return found[0] if found else ""
