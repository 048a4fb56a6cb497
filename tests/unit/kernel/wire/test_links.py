# SPDX-License-Identifier: GPL-2.0-or-later
"""Word of a change of links comes whether or not they can be listed at that moment."""

import asyncio
import sys
from contextlib import aclosing, closing
from typing import NoReturn

import pytest

from vpngate.errors import KernelRefused
from vpngate.kernel.wire import links, tc
from vpngate.kernel.wire.attributes import attribute, message
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


def _told(kind: int, family: int = 0, **parts: int) -> list[links.Announcement]:
    numbers = {"netns": 45, "index": 49}  # IFLA_NEW_NETNSID, IFLA_NEW_IFINDEX
    body = bytearray(links.LINK_HEAD.pack(family, 1, 7, links.UP, 0))
    body += attribute(links.IFLA_IFNAME, b"lan0\0")
    for name, value in parts.items():
        body += attribute(numbers[name], value.to_bytes(4, sys.byteorder))
    return links.read_announcements(message(kind, 0, bytes(body)))


@pytest.mark.parametrize(
    ("parts", "moved"),
    [({}, False), ({"netns": 3}, True), ({"netns": 0, "index": 9}, True)],
)
def test_what_moves_is_told_from_what_is_deleted(
    parts: dict[str, int], *, moved: bool
) -> None:
    [news] = _told(17, **parts)  # RTM_DELLINK
    assert (news.what, news.index) == (links.What.LINK_GONE, 7)
    assert news.link is not None
    assert (news.link.name, news.link.moved) == ("lan0", moved)


@pytest.mark.parametrize("kind", [links.NEW_LINK, 17])
def test_what_a_bridge_says_of_a_port_is_no_news_of_a_link(kind: int) -> None:
    """A port that leaves it is told to be gone, and lives on."""
    assert _told(kind, family=7) == []
    assert len(_told(kind)) == 1


def test_clsact_that_goes_is_told_from_a_filter_that_does() -> None:
    def gone(kind: int, parent: int) -> list[links.Announcement]:
        head = tc.HEAD.pack(0, 7, tc.CLSACT_HANDLE, parent, 0)
        return links.read_announcements(message(kind, 0, head))

    clsact = gone(tc.DELETE_QDISC, tc.CLSACT)
    assert clsact == [links.Announcement(links.What.CLSACT_GONE, 7)]
    filtered = gone(tc.DELETE_FILTER, tc.CLSACT_INGRESS)
    assert filtered == [links.Announcement(links.What.FILTER_GONE, 7)]
    of_a_class = gone(tc.DELETE_FILTER, 0x10000)  # 1:, at the root
    assert of_a_class == [links.Announcement(links.What.FILTER, 7)]
