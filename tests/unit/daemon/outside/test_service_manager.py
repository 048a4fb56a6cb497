# SPDX-License-Identifier: GPL-2.0-or-later
"""What the service manager is told, over a real datagram socket."""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from vpngate.daemon.outside import service_manager
from vpngate.daemon.outside.service_manager import ServiceManager


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        name = f"{tmp_path}/notify"
        receiver.bind(name if request.param == "path" else "\0" + name)
        receiver.settimeout(5)
        yield receiver


def told(manager: socket.socket) -> ServiceManager:
    name = manager.getsockname()
    address = name if isinstance(name, str) else "@" + name[1:].decode()
    return ServiceManager({"NOTIFY_SOCKET": address})


def test_each_message(manager: socket.socket) -> None:
    service = told(manager)
    service.ready()
    service.ready("observing lan0")
    service.stopping()
    service.alive()
    service.status("two\nlines ")
    service.status("")
    service.alive()
    received = [manager.recv(1000).decode() for _ in range(6)]
    assert received == [
        "READY=1",
        "READY=1\nSTATUS=observing lan0",
        "STOPPING=1",
        "WATCHDOG=1",
        "STATUS=two lines",
        "WATCHDOG=1",
    ]


def test_more_time_is_asked_for_while_something_goes_on_and_no_longer(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_manager, "_ASK_EVERY", 0.01)
    heard: list[bytes] = []

    async def work() -> None:
        while len(heard) < 3:
            heard.append(await asyncio.to_thread(manager.recv, 100))

    async def stopping() -> None:
        await told(manager).give_time(work)
        manager.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                manager.recv(100)
        await asyncio.sleep(0.05)
        with pytest.raises(BlockingIOError):
            manager.recv(100)

    asyncio.run(stopping())
    assert set(heard) == {b"EXTEND_TIMEOUT_USEC=20000000"}


def test_a_reload_says_when_it_began(manager: socket.socket) -> None:
    before = time.monotonic_ns() // 1000
    told(manager).reloading()
    first, second = manager.recv(1000).decode().split("\n")
    name, _, value = second.partition("=")
    assert (first, name) == ("RELOADING=1", "MONOTONIC_USEC")
    assert before <= int(value) <= time.monotonic_ns() // 1000


def test_without_a_manager_nothing_happens(tmp_path: Path) -> None:
    ServiceManager({}).ready()
    ServiceManager({"NOTIFY_SOCKET": f"{tmp_path}/gone"}).ready()


def test_a_manager_that_cannot_keep_up_does_not_stop_us(manager: socket.socket) -> None:
    service = told(manager)
    for _ in range(2000):
        service.alive()
    assert manager.recv(100) == b"WATCHDOG=1"


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_watchdog(environment: dict[str, str], seconds: float | None) -> None:
    assert ServiceManager(environment).watchdog == seconds
