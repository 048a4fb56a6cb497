# SPDX-License-Identifier: GPL-2.0-or-later
"""The ifb goes, another takes its name, or nobody knows: what is slowed meanwhile."""

import asyncio
import json
import socket
import subprocess
import threading
from typing import Any

import pytest

from tests.lab.namespaces import PATIENCE
from tests.lab.plane import RULESET, in_gateway
from tests.lab.topology import Lab
from vpngate.errors import KernelRefused
from vpngate.kernel.live import LiveDataPlane
from vpngate.kernel.wire.links import Announcement, Watcher, What
from vpngate.packets import Endpoint, Transport, parse_address
from vpngate.policy import Throttle

pytestmark = pytest.mark.netns

_IFB = "ifb-vpngate"
_SMALL = 1  # bytes of receive buffer: as few as the kernel gives
_CHANGES = 20  # of a link: a thousand bytes each


def run(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def flow() -> Throttle:
    subscriber, remote = map(parse_address, ("100.64.1.2", "198.51.100.10"))
    ends = Endpoint(subscriber, 1000), Endpoint(remote, 2000)
    return Throttle(Transport.UDP, *ends, subscriber, 180)


def index_of(name: str) -> int:
    """The index of an interface; 0 if there is none."""
    links: list[dict[str, Any]] = json.loads(run("ip", "-j", "link"))
    return next((one["ifindex"] for one in links if one["ifname"] == name), 0)


def is_armed() -> bool:
    return "elements" in run("nft", "list", "set", "netdev", "vpngate", "armed")


async def until(seen: threading.Event | None = None, *, armed: bool) -> None:
    """Wait for the switch to be like that, and for `seen`."""
    async with asyncio.timeout(PATIENCE):
        while (  # noqa: ASYNC110 - the kernel's, and another thread's
            is_armed() is not armed or not (seen is None or seen.is_set())
        ):
            await asyncio.sleep(0.05)


async def enforcing(plane: LiveDataPlane) -> None:
    await plane.start(RULESET)
    await plane.throttle([flow()])
    await plane.rearm(600)
    assert is_armed()


def test_an_operators_ifb_of_our_name_is_left_alone_and_nothing_slowed(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(plane: LiveDataPlane) -> None:
        await enforcing(plane)
        run("ip", "link", "del", _IFB)
        run("ip", "link", "add", _IFB, "type", "ifb")
        theirs = index_of(_IFB)
        await until(armed=False)
        for _ in range(3):
            with pytest.raises(KernelRefused, match="was not made by vpngate"):
                await plane.verify()
            await plane.rearm()
            assert not is_armed()
        assert index_of(_IFB) == theirs
        assert "htb" not in run("tc", "qdisc", "show", "dev", _IFB)

        run("ip", "link", "del", _IFB)
        await plane.verify()
        assert is_armed(), "its place is free again"
        assert "rate 5Mbit" in run("tc", "class", "show", "dev", _IFB)
        assert await plane.verify() == []

        run("ip", "link", "del", _IFB)
        run("ip", "link", "add", _IFB, "type", "ifb")
        await until(armed=False)

    try:
        in_gateway(lab, scenario)
        assert lab.gateway.call(lambda: index_of(_IFB)), "a stop leaves it, too"
    finally:
        lab.gateway.ip(f"link del {_IFB}")
    told = [one for one in caplog.messages if "was not made by vpngate" in one]
    assert len(told) <= 4, "not at each look"


def test_lost_announcements_end_the_slowing_until_it_has_been_looked_at(
    lab: Lab,
) -> None:
    """Somebody else's listener is slow, and the watcher's socket overflows."""

    async def scenario(_: LiveDataPlane) -> None:
        watcher = Watcher()
        plane = LiveDataPlane(watcher)
        told, go, lost = threading.Event(), threading.Event(), threading.Event()

        def dawdle(news: Announcement) -> None:
            told.set()
            go.wait(PATIENCE)
            if news.what is What.UNKNOWN:
                lost.set()

        try:
            await enforcing(plane)
            watcher._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL)
            watcher.tell(dawdle)
            run("ip", "link", "set", "lan1", "alias", "first")
            assert await asyncio.to_thread(told.wait, PATIENCE)
            for number in range(_CHANGES):
                run("ip", "link", "set", "lan1", "alias", str(number))
            async with plane._changing:  # nothing is repaired meanwhile
                go.set()
                await until(lost, armed=False)
            await until(armed=True)
            assert await plane.verify() == []
        finally:
            go.set()
            watcher.leave(dawdle)
            await plane.stop()
            watcher.close()

    in_gateway(lab, scenario)
