# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel would do by itself, asked of it past a running daemon.

Knows how each of the two data planes is asked: nft(8), or the programs' maps; does not
know what it should answer.
"""

import contextlib
import json
from collections.abc import Iterable

from tests.lab import bpf_daemon
from tests.lab.daemon import Daemon
from tests.lab.namespaces import LabError
from tests.planes import PLANE
from vpngate.config import Plane
from vpngate.ruleset import names


def left(running: Daemon) -> float:
    """Seconds until the kernel stops throttling, were it not told again; 0: it has."""
    if PLANE is Plane.EBPF:
        return bpf_daemon.left(running.process.pid)
    return min(_expiries(running), default=0.0)


def is_armed(running: Daemon) -> bool:
    """Whether the kernel would slow anybody, at this moment and by itself."""
    if PLANE is Plane.EBPF:
        return bpf_daemon.is_armed(running.process.pid)
    return bool(_expiries(running))


def _expiries(running: Daemon) -> list[float]:
    """Of the elements that arm the switch; of none where there is no such set."""
    asked = ("nft", "-j", "list", "set", "netdev", "vpngate", names.ARMED)
    told = running.namespace.run(*asked, check=False)
    parts = json.loads(told or '{"nftables": []}')["nftables"]
    return [
        float(element["elem"]["expires"])
        for part in parts
        for element in part.get("set", {}).get("elem", [])
    ]


def counted(running: Daemon, counter: str) -> int:
    """Packets of a counter."""
    if PLANE is Plane.EBPF:
        return bpf_daemon.counted(running.process.pid, counter)
    asked = ("nft", "list", "counter", "netdev", "vpngate", counter)
    return int(running.namespace.run(*asked).split("packets")[1].split()[0])


def spared(running: Daemon) -> dict[str, str]:
    """The sets of registered addresses, as they are shown, by name."""
    if PLANE is Plane.EBPF:
        return bpf_daemon.spared(running.process.pid)
    where = ("nft", "-j", "list", "set", "netdev", "vpngate")
    return {name: running.namespace.run(*where, name) for name in _sets(running)}


def spares(running: Daemon, asked: str) -> bool:
    """Whether registered addresses hold this one, now."""
    if PLANE is Plane.EBPF:
        return bpf_daemon.spares(running.process.pid, asked)
    while True:
        sets = _sets(running)
        found = _any_holds(running, sets, asked)
        # Others take their place in one step, maybe before these had been asked.
        if found or _sets(running) == sets:
            return found


def _any_holds(running: Daemon, sets: Iterable[str], asked: str) -> bool:
    family = "ipv6" if ":" in asked else "ipv4"
    for name in sets:
        if name.startswith(f"spared_{family}_"):
            with contextlib.suppress(LabError):
                where = f"get element netdev vpngate {name} {{ {asked} }}"
                running.namespace.run("nft", where)
                return True
    return False


def _sets(running: Daemon) -> list[str]:
    listed = running.namespace.run("nft", "-j", "list", "sets", "netdev")
    return [
        entry["set"]["name"]
        for entry in json.loads(listed)["nftables"]
        if entry.get("set", {}).get("name", "").startswith("spared_")
    ]
