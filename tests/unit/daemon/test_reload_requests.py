# SPDX-License-Identifier: GPL-2.0-or-later
"""What a request to reload leaves behind, whether it succeeds or not."""

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.daemon.desk import Desk
from vpngate.daemon.outside.service_manager import ServiceManager
from vpngate.daemon.reload_requests import ReloadRequests
from vpngate.errors import VpngateError


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in ("vpngate", "asyncio")]
    before = [(one.handlers[:], one.level, one.propagate) for one in loggers]
    yield
    for one, (handlers, level, propagate) in zip(loggers, before, strict=True):
        one.handlers[:], one.propagate = handlers, propagate
        one.setLevel(level)


def test_the_log_is_as_configured_also_where_no_source_answers(tmp_path: Path) -> None:
    desk = Desk(tmp_path)

    async def scenario() -> None:
        gatehouse = await desk.open()
        requests = ReloadRequests(
            desk.reloader,
            ServiceManager(),
            lambda: gatehouse.current.snapshot.config,
            str,
        )
        desk.registry.write_text("nonsense")
        desk.write(rest='[log]\nlevel = "error"\n')
        with pytest.raises(VpngateError):
            await requests.serve({})
        assert logging.getLogger("vpngate").level == logging.ERROR

    asyncio.run(scenario())
