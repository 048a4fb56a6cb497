# SPDX-License-Identifier: GPL-2.0-or-later
"""A daemon's parts on the dry-run data plane, for the tests beside this file.

Knows how to make a configuration, a snapshot and WireGuard's handshake packets; no
kernel, no clock.
"""

import asyncio
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from struct import pack
from typing import Any

from vpngate.attachment.machine import Machine
from vpngate.capture.live.source import Captured
from vpngate.config import Config, parse_config
from vpngate.daemon.applying.announcements import Announcements
from vpngate.daemon.applying.applier import Applier
from vpngate.daemon.applying.events import (
    ConfigRead,
    Event,
    MinutePassed,
    RegistryFetched,
    Situation,
)
from vpngate.daemon.applying.in_kernel import InKernel
from vpngate.daemon.fetches import Fetches
from vpngate.daemon.in_force import InForce
from vpngate.daemon.kept.kept_stance import KeptStance
from vpngate.daemon.traffic.pipeline import Pipeline
from vpngate.daemon.wall_clock import WallClock, read_machine
from vpngate.kernel.dryrun import DryRunDataPlane
from vpngate.metrics import Metrics
from vpngate.packets import Endpoint, HookPoint, Packet, Transport, parse_address
from vpngate.recognition import Agree
from vpngate.registry import Limits, Registry, load
from vpngate.snapshot import Snapshot, enabled_tunnels, stance_of
from vpngate.supply.keeper import Delivery, Keeper
from vpngate.timekeeping.clock import Reading
from vpngate.timekeeping.moments import When
from vpngate.tunnels import all_tunnels

NOW = 1_800_000_000.0
SUBSCRIBER = Endpoint(parse_address("100.64.1.2"), 40000)
STRANGER = Endpoint(parse_address("198.51.100.10"), 51820)
MEMBER = Endpoint(parse_address("203.0.113.10"), 51820)

REGISTRY = "prefix,registration\n203.0.113.0/24,R-1\n"
MACHINE = Machine(
    ("lan0",), frozenset({parse_address("100.64.1.1"), parse_address("fe80::1")})
)
CONFIG = '[gateway]\ninterfaces = ["lan0"]\nmode = "enforce"\n'


def config(text: str = CONFIG) -> Config:
    names = [tunnel.name for tunnel in all_tunnels()]
    return parse_config(text, where="vpngate.toml", known_tunnels=names)


def registry(text: str = REGISTRY) -> Registry:
    return load(text.encode(), limits=Limits(), now=NOW).registry


def snapshot(text: str = CONFIG, rows: str = REGISTRY) -> Snapshot:
    settings = config(text)
    tunnels, stance = enabled_tunnels(settings), stance_of(settings)
    return Snapshot(settings, tunnels, registry(rows), MACHINE, stance, b"key")


def _captured(payload: bytes, source: Endpoint, to: Endpoint, *, up: bool) -> Captured:
    packet = Packet(Transport.UDP, source, to, payload, len(payload))
    hook = HookPoint.INGRESS if up else HookPoint.EGRESS
    return Captured(packet, hook, 2, NOW - 0.004)


def handshake(
    remote: Endpoint = STRANGER, *, index: int = 7, subscriber: Endpoint = SUBSCRIBER
) -> list[Captured]:
    """Initiation and response (WireGuard, 5.4.2 and 5.4.3) as they cross lan0."""
    initiation = pack("<II", 1, index) + bytes(140)
    response = pack("<III", 2, 99, index) + bytes(80)
    return [
        _captured(initiation, subscriber, remote, up=True),
        _captured(response, remote, subscriber, up=False),
    ]


def clock_at(now: float = NOW) -> WallClock:
    """A clock that stands still."""
    return WallClock(60.0, lambda: Reading(now, 1.0 + now - NOW, "boot"))


def fetched(rows: str) -> RegistryFetched:
    """A source has a registry of these rows."""
    return RegistryFetched(Delivery(registry(rows), "a source", 0))


def config_read(text: str, machine: Machine = MACHINE) -> ConfigRead:
    return ConfigRead("vpngate.toml", config(text), machine)


@dataclass
class Gatehouse:
    """Everything between the capture and the kernel, and what changes it."""

    snapshot: Snapshot = field(default_factory=snapshot)
    plane: DryRunDataPlane = field(default_factory=DryRunDataPlane)
    now: When = NOW
    agree: Agree = lambda *_: True
    clock: WallClock = field(default_factory=clock_at)
    keeper: Keeper | None = None
    delivery: Delivery | None = None
    state: Path | None = None  # where the stance is kept
    read: Callable[[], Reading] = read_machine

    def __post_init__(self) -> None:
        self.metrics = Metrics("1", (tunnel.name for tunnel in all_tunnels()))
        self.pipeline = Pipeline(self.snapshot, self.metrics, self.agree)
        self.current = InForce(self.snapshot, self.pipeline, self.plane)
        settings, registry = self.snapshot.config, self.snapshot.registry
        keeper = self.keeper or Keeper(settings.registry, self.clock)
        self.delivery = self.delivery or Delivery(registry, "a source", 0)
        self.fetches = Fetches(keeper, self.metrics, self.clock, self.delivery)
        self.kernel = InKernel(self.plane, lambda: self.now)
        self._folder = tempfile.TemporaryDirectory()
        self.stances = KeptStance(self.state or Path(self._folder.name))
        self.applier = Applier(
            Situation(self.snapshot, settings, self.delivery.rejected),
            self.current,
            self.kernel,
            Announcements(self.current, self.fetches, self.metrics, self.clock),
            self.stances,
            self.read,
        )

    async def open(self) -> None:
        """Put it up, and apply what is asked for until the loop ends."""
        assert self.delivery is not None
        await self.applier.install(self.delivery)
        self.applying = asyncio.create_task(self.applier.run())

    async def take(self, event: Event) -> bool:
        return await self.applier.take(event)

    async def age(self) -> bool:
        return await self.applier.take(MinutePassed())

    def metric(self, name: str, **labels: str) -> Any:
        return self.metrics.registry.get_sample_value(f"vpngate_{name}", labels)
