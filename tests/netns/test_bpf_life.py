# SPDX-License-Identifier: GPL-2.0-or-later
"""A plane of programs whose process is killed, stopped or left with nothing.

Three flows go on all the while: one that is slowed, one of a registered address that
has a verdict, and one that has none. What is slowed is told by the kernel's counts of
what went into the pair, which no load of the machine makes larger.
"""

import contextlib
import json
import signal
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Self

from tests.lab.attachings import over_each
from tests.lab.daemon import PYTHON
from tests.lab.namespaces import Namespace, Process, wait_until
from tests.lab.programmed import (
    DEADMAN,
    GATEWAY,
    PLAIN,
    PORTS,
    REGISTERED,
    SLOWED,
)
from tests.lab.standing import has_map, programs_at, stages_of, told_of
from tests.netns.wire import Wire, build
from vpngate.kernel.clearing import clear

pytestmark = over_each

NEAR = "vgs-vpngate"
_AT_ONCE = 0.05  # seconds to the end of throttling
_LONG = 600.0  # seconds: a dead man's time that ends nothing here
_SO_RCVBUFFORCE = 33
PROGRAM = (*PYTHON, "-m", "tests.lab.programmed")


@dataclass
class Flow:
    """Datagrams of one source, by number, and those of them that came."""

    sent: int = 0
    came: list[int] = field(default_factory=list)


class Load:
    """Three flows to the gateway, until they are told to end."""

    def __init__(self, wire: Wire) -> None:
        self.flows = {source: Flow() for source in (SLOWED, REGISTERED, PLAIN)}
        self._over, self._silent = threading.Event(), threading.Event()
        self._ear = wire.gateway.call(_ear)
        self._mouths = wire.host.call(lambda: {s: _mouth(s) for s in self.flows})
        work = self._say, self._hear
        self._threads = [threading.Thread(target=one) for one in work]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Say no more, and hear what is still to come."""
        self._over.set()
        self._threads[0].join()
        time.sleep(1.0)
        self._silent.set()
        self._threads[1].join()

    def _say(self) -> None:
        while not self._over.is_set():
            for source, mouth in self._mouths.items():
                flow = self.flows[source]
                for _ in range(3 if source == SLOWED else 1):
                    mouth.sendto(flow.sent.to_bytes(4, "big") + bytes(796), _FAR)
                    flow.sent += 1
            time.sleep(0.005)
        for mouth in self._mouths.values():
            mouth.close()

    def _hear(self) -> None:
        with self._ear:
            while not self._silent.is_set():
                with contextlib.suppress(TimeoutError):
                    data, (source, _) = self._ear.recvfrom(2000)
                    self.flows[source].came.append(int.from_bytes(data[:4], "big"))


_FAR = (GATEWAY, PORTS[1])


def _ear() -> socket.socket:
    ear = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    ear.bind(_FAR)
    ear.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 16 << 20)
    ear.settimeout(0.1)
    return ear


def _mouth(source: str) -> socket.socket:
    mouth = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    mouth.bind((source, PORTS[0]))
    return mouth


@dataclass(frozen=True)
class Pair:
    """What the near end's queues have seen."""

    left: int
    dropped: int
    waiting: int

    @property
    def went_in(self) -> int:
        return self.left + self.dropped + self.waiting


def pair(gateway: Namespace) -> Pair:
    told = gateway.run("tc", "-s", "-j", "qdisc", "show", "dev", NEAR)
    root = next(one for one in json.loads(told) if one.get("root"))
    return Pair(root["packets"], root["drops"], root["qlen"])


@contextlib.contextmanager
def slowing(
    attaching: str, *before: str, deadman: float = DEADMAN
) -> Iterator[tuple[Wire, Process]]:
    """`before` is told to tc at the gateway first."""
    with build() as wire:
        for words in before:
            wire.gateway.run("tc", *words.split())
        wire.host.ip(
            *(f"addr add {one}/24 dev eth0" for one in (REGISTERED, PLAIN)),
        )
        command = *PROGRAM, attaching, f"{deadman}"
        with wire.gateway.running(*command) as process:
            process.expect("ready")
            yield wire, process


def controls_of(process: Process) -> list[int]:
    """The numbers of the arrays that are emptied as the plane's own is."""
    wait_until(lambda: "\n" in process.output(), "a whole line")
    return [int(one) for one in process.output().split()[1:3]]


def test_killed_under_load_it_slows_nobody_at_once_and_nothing_is_lost(
    attaching: str,
) -> None:
    """At once: when it has ended, and the kernel has emptied what was its alone.

    How long it takes to end, and a worker of the kernel to have its turn, is up to
    the machine: two arrays of the same process tell. The dead man's time would not
    be over until long after this.
    """
    with (
        slowing(attaching, deadman=_LONG) as (wire, process),
        Load(wire) as load,
    ):
        wait_until(lambda: pair(wire.gateway).dropped > 20, "a full queue")
        assert pair(wire.gateway).waiting
        controls = controls_of(process)
        assert all(map(has_map, controls))
        killed = time.monotonic()
        process.send(signal.SIGKILL)
        process.wait()
        wait_until(lambda: not any(map(has_map, controls)), "the controls' end")
        time.sleep(_AT_ONCE)
        ended = pair(wire.gateway)
        heard = load.flows[SLOWED].sent
        time.sleep(2.0)
        wait_until(lambda: load.flows[SLOWED].sent > heard + 100, "more packets")
        assert pair(wire.gateway).went_in == ended.went_in
        # It was armed for two thirds of its time at least.
        assert time.monotonic() < killed + _LONG / 2
        load.end()
        assert pair(wire.gateway).waiting == 0
        for source in (REGISTERED, PLAIN):
            flow = load.flows[source]
            assert len(flow.came) == flow.sent
        slowed = load.flows[SLOWED]
        # Whatever the queue had no room for is missing, and nothing else.
        assert len(slowed.came) == slowed.sent - ended.dropped


def test_stopped_it_slows_until_the_dead_mans_time_and_again_when_continued(
    attaching: str,
) -> None:
    with slowing(attaching) as (wire, process), Load(wire) as load:
        wait_until(lambda: pair(wire.gateway).dropped > 20, "a full queue")
        process.send(signal.SIGSTOP)
        time.sleep(DEADMAN + 0.1)
        ended = pair(wire.gateway).went_in
        time.sleep(1.5)
        assert pair(wire.gateway).went_in == ended
        process.send(signal.SIGCONT)
        wait_until(lambda: pair(wire.gateway).went_in > ended, "slowed again")
        load.end()
        for source in (REGISTERED, PLAIN):
            flow = load.flows[source]
            assert len(flow.came) == flow.sent


def test_a_start_over_what_a_killed_one_left_and_a_clear(attaching: str) -> None:
    with slowing(attaching) as (wire, process), Load(wire) as load:
        wait_until(lambda: pair(wire.gateway).went_in > 20, "slowed")
        process.send(signal.SIGKILL)
        process.wait()
        with wire.gateway.running(*PROGRAM, attaching) as another:
            another.expect("ready")
            wait_until(lambda: pair(wire.gateway).went_in > 20, "slowed")
            another.send(signal.SIGKILL)
            another.wait()
        wait_until(lambda: pair(wire.gateway).waiting == 0, "nothing waits")
        cleared = wire.gateway.call(lambda: clear("vpngate"))
        filters = () if attaching == "links" else ("filters of interface gate0",)
        assert (cleared.removed, cleared.foreign) == (
            (f"interface {NEAR}", *filters),
            (),
        )
        assert "vg" not in wire.gateway.run("ip", "-br", "link", "show", "type", "veth")
        load.end()
        for source in (REGISTERED, PLAIN):
            flow = load.flows[source]
            assert len(flow.came) == flow.sent


def test_what_is_left_at_the_interface_slows_copies_and_costs_nothing(
    attaching: str,
) -> None:
    """Nothing at all by links; by filters programs that lead nowhere."""
    with slowing(attaching) as (wire, process):
        index = wire.gateway.call(lambda: socket.if_nametoindex("gate0"))

        def standing() -> list[int]:
            return wire.gateway.call(lambda: programs_at(index))

        assert len(standing()) == 2
        assert all(map(stages_of, standing()))
        process.send(signal.SIGKILL)
        process.wait()
        if attaching == "links":
            wait_until(lambda: not standing(), "no program")
            return
        assert len(standing()) == 2
        wait_until(lambda: not any(map(stages_of, standing())), "no stage")
        for program in standing():
            told = told_of(program)
            assert told.instructions < 40
            assert len(told.maps) == 1  # of the stages: it counts and copies nothing


def test_a_flush_by_somebody_else_changes_nothing(attaching: str) -> None:
    with slowing(attaching) as (wire, _), Load(wire):
        wire.gateway.run("nft", "flush", "ruleset")
        before = pair(wire.gateway).went_in
        wait_until(lambda: pair(wire.gateway).went_in > before + 50, "slowed still")
        assert "vpngate" in wire.gateway.run("nft", "list", "tables")
