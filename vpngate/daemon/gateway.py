# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemon's life: start, run, stop.

Knows the order of things and what runs beside what; does not know how any of them
works. Whatever fails on the way ends it in an orderly manner, and the traffic then
flows as if vpngate were not installed.
"""

import asyncio
import logging
import signal
import time
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any

from vpngate import __version__
from vpngate.attachment.look import insist, look
from vpngate.config import Config
from vpngate.daemon import garbage
from vpngate.daemon.answers.questions_asked import Questions
from vpngate.daemon.applying.announcements import Announcements
from vpngate.daemon.applying.applier import Applier
from vpngate.daemon.applying.events import Situation
from vpngate.daemon.applying.in_kernel import InKernel
from vpngate.daemon.capture_and_plane import capture_and_plane
from vpngate.daemon.facts import one_line
from vpngate.daemon.fetches import Fetches
from vpngate.daemon.first_snapshot import first_snapshot
from vpngate.daemon.halting.halts import Halts
from vpngate.daemon.in_force import InForce
from vpngate.daemon.lookout import Lookout
from vpngate.daemon.outside import logs
from vpngate.daemon.outside.control import ControlServer, VerbHandler
from vpngate.daemon.outside.service_manager import ServiceManager
from vpngate.daemon.preview.previewer import Previewer
from vpngate.daemon.reload_requests import ReloadRequests
from vpngate.daemon.reloader import REFUSALS, Reloader
from vpngate.daemon.stance.stance_time import StanceTime
from vpngate.daemon.stance.verbs import StanceVerbs
from vpngate.daemon.threads import every, first_of, in_thread, unless
from vpngate.daemon.traffic.capture_loop import CaptureLoop
from vpngate.daemon.traffic.catching_up import CatchingUp
from vpngate.daemon.traffic.pipeline import Pipeline
from vpngate.daemon.traffic.second_reader import SecondReaders
from vpngate.daemon.wall_clock import WallClock, read_machine
from vpngate.daemon.wellbeing.deadman import DeadMan
from vpngate.daemon.wellbeing.health import Health
from vpngate.daemon.wellbeing.kernel_counters import KernelCounters
from vpngate.daemon.wellbeing.loop_lag import measure_lag
from vpngate.daemon.wellbeing.opened_pages import open_pages
from vpngate.daemon.wellbeing.public_facts import PublicView
from vpngate.daemon.wellbeing.report import Report
from vpngate.daemon.wellbeing.self_check import SelfCheck
from vpngate.errors import VpngateError
from vpngate.kernel.plane import REPAIRS, DataPlane
from vpngate.kernel.wire import links
from vpngate.log_events import named
from vpngate.metrics import Metrics
from vpngate.supply.keeper import Delivery, Keeper
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
        self._keeper: Keeper | None = None
        self.plane: DataPlane
        self.verbs: dict[str, VerbHandler] = {}

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT; raises VpngateError for what ended it."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        # Until everything is read for the first time there is nothing to read again.
        loop.add_signal_handler(signal.SIGHUP, lambda: None)
        async with AsyncExitStack() as stack:
            if await self._started(stack):
                loop.add_signal_handler(signal.SIGHUP, self._requests.soon)
                self._manager.ready(self._one_line())
                _log.info("running: %s", self._one_line(), extra=named("running"))
                try:
                    await self._work()
                finally:
                    self._manager.stopping()
                    await self._requests.end()
        _log.info("stopped; nothing is left behind", extra=named("stopped"))

    async def _started(self, stack: AsyncExitStack) -> bool:
        """Start, unless a signal comes first."""

        def give_up() -> None:
            if self._keeper is not None:
                self._keeper.cancel()

        return await unless(self._stop, self._start(stack), give_up)

    async def _start(self, stack: AsyncExitStack) -> None:
        """Everything up, or a VpngateError and nothing left behind."""
        config = self._first_config()
        machine = await asyncio.to_thread(look, config)
        insist(config, machine)
        self._metrics = _metrics()
        self._clock = WallClock(config.registry.removal_grace)
        self._keeper = keeper = Keeper(config.registry, self._clock)
        delivery = await in_thread(keeper.boot)
        self._watch_links(stack)
        self.plane, open_capture = capture_and_plane(config, self._watcher)
        snapshot, self._stances = await first_snapshot(config, machine, delivery)
        # Second readers of all tunnels: loading one takes time.
        readers = await in_thread(SecondReaders, all_tunnels(), self._metrics)
        self._pipeline = Pipeline(snapshot, self._metrics, readers.agrees)
        self._in_force = InForce(snapshot, self._pipeline, self.plane)
        self._make_ready_to_change(keeper, delivery)
        stack.push_async_callback(self._manager.give_time, self.plane.stop)
        await self._applier.install(delivery)
        await in_thread(keeper.keep, delivery)
        capture = stack.enter_context(open_capture(snapshot))
        self._capture = CaptureLoop(
            capture, self._pipeline, self.plane, self._metrics, self._clock.now
        )
        self._deadman = DeadMan(self.plane, lambda: self._capture.heard, self._metrics)
        self._deadman.left = self._stance_time.left
        self._in_force.told += [self._deadman.at_once, self._stance_time.changed]
        self._in_force.told.append(
            lambda: self._catching_up.consider(self._in_force.snapshot)
        )
        self._counters = KernelCounters(self.plane, self._metrics)
        await self._listen(stack)
        garbage.begin()

    def _first_config(self) -> Config:
        config = self._read_config(self._path)
        logs.set_up(config.log.level, config.log.format)
        return logs.told(config)

    def _watch_links(self, stack: AsyncExitStack) -> None:
        self._watcher = links.Watcher()
        stack.push_async_callback(asyncio.to_thread, self._watcher.close)

    def _make_ready_to_change(self, keeper: Keeper, delivery: Delivery) -> None:
        """What reads, looks and fetches, and the one way from there to the kernel."""
        snapshot, clock = self._in_force.snapshot, self._clock
        fetches = Fetches(keeper, self._metrics, clock, delivery)
        self._in_kernel = InKernel(self.plane, clock.now)
        told = self._in_force, fetches, self._metrics, clock
        self._announcements = Announcements(*told)
        self._catching_up = CatchingUp(self._pipeline, self.plane, clock.now)
        self._pipeline.observed.spared_by = self._in_kernel.spared_by
        self.plane.still_wanted = self._pipeline.acts_on
        self._applier = Applier(
            Situation(snapshot, snapshot.config, delivery.rejected),
            self._in_force,
            self._in_kernel,
            self._announcements,
            self._stances,
        )
        self._stance_time = StanceTime(self._applier, read_machine)
        self.verbs |= StanceVerbs(self._applier).handlers
        self._lookout = Lookout(self._applier, look)
        self._reloader = Reloader(
            self._applier,
            fetches,
            self._lookout,
            read_config=lambda path: logs.told(self._read_config(path)),
            path=self._path,
        )

    async def _listen(self, stack: AsyncExitStack) -> None:
        """What is told of the daemon: by the control socket, and by the pages."""
        self._requests = ReloadRequests(
            *(self._reloader, self._manager),
            *(lambda: self._in_force.snapshot.config, self._one_line),
        )
        self._health = Health(
            self._in_force, self._capture, self._deadman, self.plane, self._metrics
        )
        fresh, counted = self._reloader.freshness, self._counters
        seen = self._in_force, fresh, self._pipeline, self._capture, counted
        self._report = Report(*seen, self._health)
        self._health.stale = self._reloader.stale
        acting = self._in_force, self._pipeline, self.plane, counted
        self._previewer = Previewer(*acting, self._clock.now, self._in_kernel.spared_by)
        self.verbs["reload"] = self._requests.serve
        told = self._status, self._reloader.refreshes, self._metrics.exposition
        self.verbs |= Questions(self._in_force, self._clock.now, *told).handlers
        self.verbs["compare"] = lambda _arguments: self._health.compare()
        self.verbs["preview"] = self._previewer.serve
        self._public = PublicView(
            *(self._in_force, self._pipeline, self._counters, self._metrics),
            *(self._clock.now, lambda: self._health.armed, self._reloader.stale),
            self._status,
        )
        self.verbs["report"] = lambda _arguments: self._public.report()
        asked = self._in_force, self.plane, self._clock.now, self._in_kernel.spared_by
        control = ControlServer(self._socket, self.verbs)
        await control.start()
        stack.push_async_callback(control.stop)
        open_pages(
            *(stack, self._in_force, self._public),
            SelfCheck(*asked, lambda: self._health.armed),
            *(self._health, self._counters, self._metrics),
            self._status,
        )

    async def _work(self) -> None:
        """Everything that goes on until a signal; an error in any of it ends all."""
        jobs: list[Coroutine[Any, Any, None]] = [
            self._applier.run(),
            self._capture.listen(),
            self._capture.deliver(),
            self._catching_up.run(),
            self._deadman.hold(self._arming),
            self._stance_time.keep(),
            Halts(
                *(self._in_force, self.plane, self._in_kernel, self._capture),
                *(self._metrics, self._applier.take_at_once),
            ).watch(),
            self._reloader.refresh(),
            self._lookout.follow(),
            self._follow_links(),
            measure_lag(self._metrics.loop_lag),
            every(AGE_EVERY, self._age),
            every(TIDY_EVERY, self._tidy),
            every(VERIFY_EVERY, self._verify),
        ]
        if self._manager.watchdog is not None:
            jobs.append(every(self._manager.watchdog / 3, self._tell_watchdog))
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(job) for job in jobs]
                await self._stop.wait()
                for task in tasks:
                    task.cancel()
        except* VpngateError as errors:
            raise first_of(errors) from None

    def _arming(self) -> tuple[bool, float]:
        snapshot = self._in_force.snapshot
        return snapshot.enforcing, snapshot.config.gateway.deadman

    async def _follow_links(self) -> None:
        async for _ in links.changes(self._watcher):
            self._lookout.soon()

    async def _age(self) -> None:
        await garbage.collect()
        logs.tell_uncaught()
        try:
            await self._reloader.age()
        except VpngateError as error:
            for line in error.lines:
                keeps = "%s; the kernel keeps what it has"
                _log.warning(keeps, line, extra=named("aging_failed"))

    async def _tidy(self) -> None:
        # A new address comes without an announcement about its link.
        self._lookout.soon()
        await self._pipeline.forget_idle(time.monotonic())
        await self._counters.refresh()
        self._public.note()

    async def _verify(self) -> None:
        await self._health.verify()
        self._announcements.interfaces()  # some are tried again

    async def _tell_watchdog(self) -> None:
        self._manager.alive()

    async def _status(self) -> dict[str, Any]:
        await self._counters.refresh()
        return self._report.status()

    def _one_line(self) -> str:
        return one_line(self._in_force)


def _metrics() -> Metrics:
    tunnels = (tunnel.name for tunnel in all_tunnels())
    return Metrics(__version__, tunnels, refusals=REFUSALS, repairs=REPAIRS)
