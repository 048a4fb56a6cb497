# SPDX-License-Identifier: GPL-2.0-or-later
"""Requests to reload: by a signal or through the control socket.

Knows whom to tell that a reload begins, ends or fails; does not know what is reloaded
(`reloader.py`).
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

from vpngate.config import Config
from vpngate.daemon.outside import logs
from vpngate.daemon.outside.control import flags
from vpngate.daemon.outside.service_manager import ServiceManager
from vpngate.daemon.reloader import Reloader
from vpngate.errors import VpngateError
from vpngate.log_events import named
from vpngate.registry import Accept

_log = logging.getLogger(__name__)


class ReloadRequests:
    """Has the reloader reload, and tells the service manager and the log.

    config  the configuration in force
    status  a line on what the daemon does, for the service manager
    """

    def __init__(
        self,
        reloader: Reloader,
        manager: ServiceManager,
        config: Callable[[], Config],
        status: Callable[[], str],
    ) -> None:
        self._reloader = reloader
        self._manager = manager
        self._config = config
        self._status = status
        self._tasks: set[asyncio.Task[None]] = set()

    def soon(self) -> None:
        """Reload without anybody who waits for it; for a signal."""
        self._tasks.add(task := asyncio.create_task(self._and_log()))
        task.add_done_callback(self._tasks.discard)

    async def serve(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Reload for the control socket; raises VpngateError for what stopped it."""
        asked = flags(arguments, *(f"accept_{each}" for each in Accept))
        self._manager.reloading()
        try:
            outcome = await self._reloader.reload(
                accept=[each for each in Accept if f"accept_{each}" in asked]
            )
        except VpngateError as error:
            for line in error.lines:
                _log.error("reload: %s", line, extra=named("reload_failed"))
            raise
        finally:
            self._manager.ready(self._status())
            # A configuration is in force also where no source had a registry.
            log = self._config().log
            logs.set_up(log.level, log.format)
        _log.info("reloaded: registry %s", outcome["registry"], extra=named("reloaded"))
        return outcome

    async def end(self) -> None:
        """Nothing may go on behind anybody's back while the daemon stops."""
        self._reloader.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _and_log(self) -> None:
        try:
            await self.serve({})
        except VpngateError:
            return  # it has been logged, and is in the metrics
        except Exception:  # noqa: BLE001 - told, and the daemon goes on
            _log.exception(
                "reload: this should not have happened",
                extra=named("unforeseen", during="reload"),
            )
