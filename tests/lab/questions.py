# SPDX-License-Identifier: GPL-2.0-or-later
"""What a table asks ordinary packets, and whether a flow is slowed in it.

Knows which line of which chain asks for a verdict, as nft lists it, and one flow of the
lab that may have one; does not know when the lines are to be there.
"""

import asyncio
import json
import math
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.lab.namespaces import PATIENCE
from tests.lab.plane import RULESET
from tests.lab.topology import Host, Lab
from vpngate.kernel import live
from vpngate.kernel.detour import verdict_lines, verdicts
from vpngate.kernel.live import LiveDataPlane
from vpngate.packets import Endpoint, Transport, parse_address
from vpngate.policy import Throttle
from vpngate.ruleset import composition

Listed = dict[str, list[Any]]

# How the comment of such a line ends; any of them may go or come in a minute.
QUESTION = "flow an unregistered tunnel?"
LOOK = 0.02  # seconds, instead of five
SOON = 0.05  # seconds without a verdict, instead of a minute
ASKING = composition.verdict_lines(RULESET)
ALL = {chain: [0] for chain in ASKING}
NONE: dict[str, list[int]] = {chain: [] for chain in ASKING}
BOTH_WAYS = {"upload": 1, "download": 1}
NEITHER = {"upload": 0, "download": 0}
_PORT = 7777


def hasten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have looks come one behind the other; lines go where a test says `soon`."""
    monkeypatch.setattr(live, "_LOOK_AFTER", LOOK)
    monkeypatch.setattr(verdicts, "_SLOT", LOOK)
    monkeypatch.setattr(verdict_lines, "QUIET", math.inf)


@contextmanager
def soon() -> Iterator[None]:
    """Inside, lines go as soon as nobody was slowed for next to no time."""
    before, verdict_lines.QUIET = verdict_lines.QUIET, SOON
    try:
        yield
    finally:
        verdict_lines.QUIET = before


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
    with soon():
        await until(lambda: asking(listed()) == NONE)


def _pass(one: Host, other: Host, version: int) -> None:
    """A packet from one host to another; it has come through."""

    def bound(host: Host) -> socket.socket:
        kind = socket.AF_INET if version == 4 else socket.AF_INET6
        opened = socket.socket(kind, socket.SOCK_DGRAM)
        opened.settimeout(PATIENCE)
        opened.bind((host.at(version).address, _PORT))
        return opened

    with (
        one.namespace.call(lambda: bound(one)) as sender,
        other.namespace.call(lambda: bound(other)) as receiver,
    ):
        sender.sendto(b"x" * 100, (other.at(version).address, _PORT))
        assert receiver.recv(200) == b"x" * 100


async def slowed(lab: Lab, plane: LiveDataPlane, version: int = 4) -> dict[str, int]:
    """Of one packet each way how many were slowed; none is lost."""
    before = (await plane.counters()).diverted_packets
    for one, other in ((lab.client, lab.stranger), (lab.stranger, lab.client)):
        await asyncio.to_thread(_pass, one, other, version)
    now = (await plane.counters()).diverted_packets
    return {way: now[way] - before[way] for way in now}


async def started(plane: LiveDataPlane) -> Listed:
    """A plane that enforces and has long slowed nobody; its table when it asked."""
    await plane.start(RULESET)
    whole = await asyncio.to_thread(listed)
    assert asking(whole) == ALL
    await plane.rearm()
    await quiet()
    return whole
