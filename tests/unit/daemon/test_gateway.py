# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemon's own order of things, without a kernel."""

import asyncio
from collections.abc import Mapping
from typing import Any, NoReturn

import pytest

from vpngate.daemon.gateway import Gateway


def unread(path: str) -> NoReturn:
    pytest.fail(f"nothing is to be read: {path}")


def test_of_many_signals_one_reload_waits_behind_the_one_that_runs() -> None:
    """It has read nothing yet, so it sees whatever the later signals were about."""

    class Slow(Gateway):
        begun = 0

        async def _reload(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
            async with turn:
                self.begun += 1
            return dict(arguments)

    turn = asyncio.Lock()

    async def scenario() -> None:
        gateway = Slow(unread, "vpngate.toml", "control.sock")
        async with turn:
            for _ in range(100):
                gateway._reload_soon()
                await asyncio.sleep(0)
        await asyncio.gather(*gateway._reloads)
        assert gateway.begun == 2
        gateway._reload_soon()
        await asyncio.gather(*gateway._reloads)
        assert gateway.begun == 3

    asyncio.run(scenario())
