# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemon's life: start, run, stop.

Knows the order of things and what runs beside what; does not know how any of them
works. Whatever fails on the way ends it in an orderly manner, and the traffic then
flows as if vpngate were not installed.
"""

import asyncio
import logging
import secrets
import signal
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from typing import Any

from vpngate import __version__
from vpngate.config import Config
from vpngate.daemon import logs, pages
from vpngate.daemon.aside import aside
from vpngate.daemon.clock import WallClock
from vpngate.daemon.control import ControlServer, Handler, flags
from vpngate.daemon.current import Current
from vpngate.daemon.deadman import DeadMan
from vpngate.daemon.health import Health
from vpngate.daemon.intake import Intake
from vpngate.daemon.keeper import Keeper
from vpngate.daemon.machine import insist, look
from vpngate.daemon.opening import data_plane, open_capture
from vpngate.daemon.pipeline import Pipeline
from vpngate.daemon.reload import REFUSALS, Reloader
from vpngate.daemon.report import Report
from vpngate.daemon.second_reader import SecondReaders
from vpngate.daemon.snapshot import Snapshot, enabled_tunnels
from vpngate.daemon.systemd import ServiceManager
from vpngate.daemon.totals import Totals
from vpngate.errors import VpngateError
from vpngate.kernel.plane import REPAIRS, DataPlane
from vpngate.kernel.wire.links import Watcher
from vpngate.kernel.wire.links import changes as link_changes
from vpngate.metrics import Metrics
from vpngate.registry import Accept
from vpngate.tunnels import all_tunnels

VERIFY_EVERY = 30.0  # seconds
TIDY_EVERY = 5.0
AGE_EVERY = 60.0  # registrations begin and end

_log = logging.getLogger(__name__)


class Gateway:
    """One daemon.

    `read_config` reads the configuration at `path`, for the start and each reload.
    `verbs` are what the control socket answers to; an entry added before `run` is
    served too.
    """

    def __init__(
        self, read_config: Callable[[str], Config], path: str, socket: str
    ) -> None:
        self._read_config = read_config
        self._path = path
        self._socket = socket
        self._stop = asyncio.Event()
        self._manager = ServiceManager()
        self._reloads: set[asyncio.Task[None]] = set()
        self._keeper: Keeper | None = None
        self._in_the_way: list[str] = []  # why interfaces could not be followed
        self.plane: DataPlane
        self.verbs: dict[str, Handler] = {
            "status": self._status,
            "reload": self._reload,
            "compare": self._compare,
        }

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT; raises VpngateError for what ended it."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        # Until everything is read for the first time there is nothing to read again.
        loop.add_signal_handler(signal.SIGHUP, lambda: None)
        async with AsyncExitStack() as stack:
            if await self._started(stack):
                loop.add_signal_handler(signal.SIGHUP, self._reload_soon)
                self._manager.ready(self._one_line())
                _log.info("running: %s", self._one_line())
                try:
                    await self._work()
                finally:
                    self._manager.stopping()
                    await self._end_reloads()
        _log.info("stopped; nothing is left behind")

    async def _started(self, stack: AsyncExitStack) -> bool:
        """Start, unless a signal comes first."""
        start = asyncio.create_task(self._start(stack))
        stop = asyncio.create_task(self._stop.wait())
        await asyncio.wait({start, stop}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if start.done():
            await start
            return True
        if self._keeper is not None:
            self._keeper.cancel()
        start.cancel()
        await asyncio.gather(start, return_exceptions=True)
        return False

    async def _start(self, stack: AsyncExitStack) -> None:
        """Everything up, or a VpngateError and nothing left behind."""
        config = self._first_config()
        machine = await asyncio.to_thread(look, config)
        insist(config, machine)
        self._metrics = _metrics()
        self._clock = WallClock(config.registry.removal_grace)
        self._keeper = keeper = Keeper(config.registry, self._clock)
        delivery = await aside(keeper.boot)
        self._watch_links(stack)
        self.plane = data_plane(config, self._watcher)
        snapshot = Snapshot(config, enabled_tunnels(config), delivery.registry, machine)
        await self._learn_to_read(snapshot)
        self._current = Current(snapshot, self.plane, self._pipeline, self._clock.now)
        await self._current.install()
        stack.push_async_callback(self.plane.stop)
        await aside(keeper.keep, delivery)
        capture = stack.enter_context(open_capture(snapshot))
        self._intake = Intake(
            capture, self._pipeline, self.plane, self._metrics, self._clock.now
        )
        self._deadman = DeadMan(self.plane, lambda: self._intake.heard, self._metrics)
        self._totals = Totals(self.plane, self._metrics)
        self._reloader = Reloader(
            self._current,
            keeper,
            self._metrics,
            self._clock,
            read_config=lambda path: logs.told(self._read_config(path)),
            path=self._path,
            look=look,
            delivery=delivery,
        )
        self._health = Health(
            self._current, self._intake, self._deadman, self.plane, self._metrics
        )
        self._report = Report(
            self._current,
            self._reloader,
            self._pipeline,
            self._intake,
            self._totals,
            self._health,
        )
        await self._listen(stack)

    def _first_config(self) -> Config:
        config = self._read_config(self._path)
        logs.set_up(config.log.level, config.log.format)
        return logs.told(config)

    def _watch_links(self, stack: AsyncExitStack) -> None:
        self._watcher = Watcher()
        stack.push_async_callback(asyncio.to_thread, self._watcher.close)

    async def _learn_to_read(self, snapshot: Snapshot) -> None:
        """Recognition, with second readers of all tunnels: loading one takes time."""
        readers = await asyncio.to_thread(SecondReaders, all_tunnels(), self._metrics)
        chooser = secrets.token_bytes(16)
        self._pipeline = Pipeline(snapshot, self._metrics, chooser, readers.agrees)

    async def _listen(self, stack: AsyncExitStack) -> None:
        """The control socket and the pages."""
        self._health.stale = self._reloader.stale
        control = ControlServer(self._socket, self.verbs)
        await control.start()
        stack.push_async_callback(control.stop)
        for http in pages.servers(
            lambda: self._current.snapshot.config.http,
            state=lambda: self._status({}),
            refresh=self._totals.refresh,
            reasons=self._health.reasons,
            exposition=self._metrics.exposition,
        ):
            http.start()
            stack.push_async_callback(asyncio.to_thread, http.stop)

    async def _work(self) -> None:
        """Everything that goes on until a signal; an error in any of it ends all."""
        jobs: list[Coroutine[Any, Any, None]] = [
            self._intake.listen(),
            self._intake.deliver(),
            self._deadman.hold(self._arming),
            self._reloader.refresh(),
            self._follow_links(),
            _every(AGE_EVERY, self._age),
            _every(TIDY_EVERY, self._tidy),
            _every(VERIFY_EVERY, self._verify),
        ]
        if self._manager.watchdog is not None:
            jobs.append(_every(self._manager.watchdog / 3, self._tell_watchdog))
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(job) for job in jobs]
                await self._stop.wait()
                for task in tasks:
                    task.cancel()
        except* VpngateError as errors:
            raise _first(errors) from None

    def _arming(self) -> tuple[bool, float]:
        snapshot = self._current.snapshot
        return snapshot.enforcing, snapshot.config.gateway.deadman

    async def _follow_links(self) -> None:
        async for _ in link_changes(self._watcher):
            await self._look_again()

    async def _look_again(self) -> None:
        try:
            await self._reloader.look_again()
            self._in_the_way = []
        except VpngateError as error:
            if error.lines != self._in_the_way:  # once, not every few seconds
                for line in error.lines:
                    _log.warning("%s; attached as before", line)
            self._in_the_way = error.lines

    async def _age(self) -> None:
        try:
            await self._reloader.age()
        except VpngateError as error:
            for line in error.lines:
                _log.warning("%s; the kernel keeps what it has", line)

    async def _tidy(self) -> None:
        self._pipeline.flows.expire(time.monotonic())
        await self._totals.refresh()
        # A new address comes without an announcement about its link.
        await self._look_again()

    async def _verify(self) -> None:
        await self._health.verify()

    async def _tell_watchdog(self) -> None:
        self._manager.alive()

    def _reload_soon(self) -> None:
        self._reloads.add(task := asyncio.create_task(self._reload_and_log()))
        task.add_done_callback(self._reloads.discard)

    async def _reload_and_log(self) -> None:
        try:
            await self._reload({})
        except VpngateError:
            return  # it has been logged, and is in the metrics
        except Exception:  # noqa: BLE001 - told, and the daemon goes on
            _log.exception("reload: this should not have happened")

    async def _end_reloads(self) -> None:
        """Nothing may go on behind our back while we stop."""
        self._reloader.cancel()
        for task in self._reloads:
            task.cancel()
        await asyncio.gather(*self._reloads, return_exceptions=True)

    async def _reload(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        asked = flags(arguments, *(f"accept_{each}" for each in Accept))
        self._manager.reloading()
        try:
            outcome = await self._reloader.reload(
                accept=[each for each in Accept if f"accept_{each}" in asked]
            )
        except VpngateError as error:
            for line in error.lines:
                _log.error("reload: %s", line)
            raise
        finally:
            self._manager.ready(self._one_line())
        log = self._current.snapshot.config.log
        logs.set_up(log.level, log.format)
        _log.info("reloaded: registry %s", outcome["registry"])
        return outcome

    async def _status(self, _arguments: Mapping[str, Any]) -> dict[str, Any]:
        await self._totals.refresh()
        return self._report.status()

    async def _compare(self, _arguments: Mapping[str, Any]) -> dict[str, Any]:
        return await self._health.compare()

    def _one_line(self) -> str:
        snapshot = self._current.snapshot
        interfaces = ", ".join(snapshot.machine.interfaces) or "no interface yet"
        return (
            f"{snapshot.config.gateway.mode.value} on {interfaces}; "
            f"{len(snapshot.registry)} registrations"
        )


def _metrics() -> Metrics:
    tunnels = (tunnel.name for tunnel in all_tunnels())
    return Metrics(__version__, tunnels, refusals=REFUSALS, repairs=REPAIRS)


async def _every(seconds: float, job: Callable[[], Awaitable[None]]) -> None:
    while True:
        await asyncio.sleep(seconds)
        await job()


def _first(errors: BaseExceptionGroup[VpngateError]) -> VpngateError:
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, VpngateError)  # noqa: S101 - except* chose them
    return error
