# SPDX-License-Identifier: GPL-2.0-or-later
"""The interfaces whose marked packets go to the ifb, by name.

Knows which interfaces were given the filter, and under which index; does not know
what the filter is made of. An interface that is not there is passed over: when it
comes back, it is seen to be loose.
"""

from collections.abc import Iterable, Mapping

from vpngate.kernel.detour.redirect import Redirect
from vpngate.kernel.wire.links import Announcement, Link, What, current_links


class Attached:
    """The filters of one table's interfaces. One thread alone may change them."""

    def __init__(self, redirect: Redirect) -> None:
        self._redirect = redirect
        self._indexes: dict[str, int] = {}

    def attach(self, names: Iterable[str], mark: int, device: int) -> None:
        """Redirect what carries the mark to the ifb `device`."""
        links = current_links()
        for name in names:
            if link := links.get(name):
                self._redirect.attach(link.index, name, mark, device)
                self._indexes[name] = link.index

    def detach(self, names: Iterable[str]) -> None:
        """Take the filters away."""
        for name in names:
            if index := self._indexes.pop(name, 0):
                self._redirect.detach(index)

    def detach_all(self) -> None:
        """Take every filter away, also what a killed predecessor left."""
        indexes = [link.index for link in current_links().values()]
        for index in self._redirect.stale(indexes):
            self._redirect.detach(index)
        self._indexes.clear()

    def loose(self, links: Mapping[str, Link], mark: int, device: int) -> list[str]:
        """Those of `links` whose filter is not what it should be."""
        return [
            name
            for name, link in links.items()
            if not self._redirect.is_attached(link.index, mark, device)
        ]

    def concerns(self, news: Announcement) -> bool:
        """Whether a filter of ours may be gone; from any thread."""
        if news.what is What.LINK and news.link is not None:
            known = self._indexes.get(news.link.name)
            return known is not None and known != news.index
        return (
            news.what in (What.QDISC_GONE, What.FILTER_GONE)
            and news.index in self._indexes.values()
        )
