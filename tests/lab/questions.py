# SPDX-License-Identifier: GPL-2.0-or-later
"""What a table asks ordinary packets, and whether a flow is slowed in it.

Knows which line of which chain asks for a verdict, as nft lists it, and one flow of the
lab that may have one; does not know when the lines are to be there.
"""

import asyncio
import json
import socket
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from tests.lab.namespaces import PATIENCE, Namespace
from tests.lab.plane import RULESET
from tests.lab.topology import Lab
from vpngate.kernel import live
from vpngate.kernel.detour import verdict_lines, verdicts
from vpngate.kernel.live import LiveDataPlane
from vpngate.packets import Endpoint, Transport, parse_address
from vpngate.policy import Throttle
from vpngate.ruleset import composition

Listed = dict[str, list[Any]]

LOOK = 0.02  # seconds, instead of five
SOON = 0.05  # seconds without a verdict, instead of a minute
ASKING = composition.verdict_lines(RULESET)
ALL = {chain: [0] for chain in ASKING}
NONE: dict[str, list[int]] = {chain: [] for chain in ASKING}
BOTH_WAYS = {"upload": 1, "download": 1}
NEITHER = {"upload": 0, "download": 0}
_PORT = 7777


def hasten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the lines go soon, and looks come one behind the other."""
    monkeypatch.setattr(live, "_LOOK_AFTER", LOOK)
    monkeypatch.setattr(verdicts, "_SLOT", LOOK)
    monkeypatch.setattr(verdict_lines, "QUIET", SOON)


def flow(
    lab: Lab, version: int = 4, transport: Transport = Transport.UDP, port: int = _PORT
) -> Throttle:
    """One between client and stranger; that of the usual port is the one sent by."""
    ends = lab.client, lab.stranger
    near, far = (parse_address(one.at(version).address) for one in ends)
    number = port if transport.has_ports else 0
    bucket = near if version == 4 else near[:8] + bytes(8)
    return Throttle(
        transport, Endpoint(near, number), Endpoint(far, number), bucket, 60
    )


def listed(table: str = "vpngate") -> Listed:
    """The rules of a table by chain, and what else it has, without what counts."""
    done = subprocess.run(
        ["nft", "-j", "-s", "list", "table", "netdev", table],
        capture_output=True,
        text=True,
        check=True,
    )
    found: Listed = {}
    for one in json.loads(done.stdout)["nftables"]:
        (kind, what), *_ = one.items()
        if kind in ("metainfo", "table"):
            continue
        for passing in ("handle", "elem", "packets", "bytes"):
            what.pop(passing, None)
        if kind == "rule":
            found.setdefault(what["chain"], []).append(what)
        elif kind != "chain":
            found.setdefault(kind, []).append(what)
    return found


def asking(found: Listed) -> dict[str, list[int]]:
    """At which places of its rules each chain asks for verdicts."""
    return {
        chain: [
            place
            for place, rule in enumerate(found.get(chain, []))
            if rule.get("comment") == line.comment
        ]
        for chain, line in ASKING.items()
    }


def without(found: Listed) -> Listed:
    """The same table without the lines that ask."""
    kept = {
        chain: [
            rule
            for rule in rules
            if chain not in ASKING or rule.get("comment") != ASKING[chain].comment
        ]
        for chain, rules in found.items()
    }
    return {chain: rules for chain, rules in kept.items() if rules}


async def until(condition: Callable[[], bool]) -> None:
    """Wait for it, while others have their turn."""
    async with asyncio.timeout(PATIENCE):
        while not await asyncio.to_thread(condition):  # noqa: ASYNC110 - other programs
            await asyncio.sleep(LOOK)


async def quiet() -> None:
    """Wait until no chain asks for a verdict."""
    await until(lambda: asking(listed()) == NONE)


def _send(sender: Namespace, near: str, far: str) -> None:
    def send() -> None:
        kind = socket.AF_INET6 if ":" in near else socket.AF_INET
        with socket.socket(kind, socket.SOCK_DGRAM) as source:
            source.bind((near, _PORT))
            source.sendto(b"x" * 100, (far, _PORT))

    sender.call(send)


async def slowed(lab: Lab, plane: LiveDataPlane, version: int = 4) -> dict[str, int]:
    """Of one packet each way how many were slowed."""
    before = await plane.counters()
    ends = lab.client, lab.stranger
    for one, other in (ends, ends[::-1]):
        places = one.at(version).address, other.at(version).address
        await asyncio.to_thread(_send, one.namespace, *places)
    async with asyncio.timeout(PATIENCE):
        while True:
            now = await plane.counters()
            passed = now.traffic_packets
            if all(passed[way] > before.traffic_packets[way] for way in passed):
                break
            await asyncio.sleep(LOOK)
    diverted = before.diverted_packets
    return {way: n - diverted[way] for way, n in now.diverted_packets.items()}


async def started(plane: LiveDataPlane) -> Listed:
    """A plane that enforces and has long slowed nobody; its table when it asked."""
    await plane.start(RULESET)
    whole = await asyncio.to_thread(listed)
    assert asking(whole) == ALL
    await plane.rearm()
    await quiet()
    return whole
