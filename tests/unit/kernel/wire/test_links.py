# SPDX-License-Identifier: GPL-2.0-or-later
"""Word of a change of links comes whether or not they can be listed at that moment."""

import asyncio
from contextlib import aclosing, closing
from typing import NoReturn

import pytest

from vpngate.errors import KernelRefused
from vpngate.kernel.wire import links
from vpngate.kernel.wire.channel import ROUTE, Channel


def test_a_list_that_changes_each_time_it_is_read_ends_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As where hundreds of sessions come and go: whoever is told looks, or tries to."""

    def refused() -> NoReturn:
        raise KernelRefused("cannot read a list: it changed each time")

    async def first() -> None:
        watcher = links.Watcher()
        try:
            async with aclosing(links.changes(watcher)) as words:
                async for word in words:
                    assert word is None
                    return
        finally:
            watcher.close()
        pytest.fail("no word came")

    monkeypatch.setattr(links, "current_links", refused)
    asyncio.run(first())


def test_interfaces_are_found_by_name_without_a_list(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(*_: object) -> NoReturn:
        raise KernelRefused("cannot read a list: it changed each time")

    monkeypatch.setattr(Channel, "dump", refused)
    with closing(Channel(ROUTE)) as channel:
        nobody, loopback = links.links_named(channel, ["nobody0", "lo"])
    assert nobody is None
    assert loopback is not None
    assert (loopback.name, loopback.hardware) == ("lo", 772)  # ARPHRD_LOOPBACK


def test_one_watcher_tells_all_that_listen_until_they_leave() -> None:
    watcher = links.Watcher()
    told: list[str] = []

    def first(_: links.Announcement) -> None:
        told.append("first")
        watcher.leave(first)  # from the watcher's own call, too

    def second(_: links.Announcement) -> None:
        told.append("second")

    try:
        watcher.tell(first)
        watcher.tell(second)
        for _ in range(2):
            watcher._tell(links.Announcement(links.What.UNKNOWN))
        watcher.leave(second)
        watcher.leave(second)  # whoever has left may leave
        watcher._tell(links.Announcement(links.What.UNKNOWN))
    finally:
        watcher.close()
    assert told == ["first", "second", "second"]
