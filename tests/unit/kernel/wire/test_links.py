# SPDX-License-Identifier: GPL-2.0-or-later
"""Word of a change of links comes whether or not they can be listed at that moment."""

import asyncio
from contextlib import aclosing
from typing import NoReturn

import pytest

from vpngate.errors import KernelRefused
from vpngate.kernel.wire import links


def test_a_list_that_changes_each_time_it_is_read_ends_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As where hundreds of sessions come and go: whoever is told looks, or tries to."""

    def refused() -> NoReturn:
        raise KernelRefused("cannot read a list: it changed each time")

    async def first() -> None:
        async with aclosing(links.changes()) as words:
            async for word in words:
                assert word is None
                return
        pytest.fail("no word came")

    monkeypatch.setattr(links, "current_links", refused)
    asyncio.run(first())
