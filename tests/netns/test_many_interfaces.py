# SPDX-License-Identifier: GPL-2.0-or-later
"""Hundreds of interfaces that come and go, and some that cannot be attached.

None of them holds up another, nor a registry, nor a mode. What the kernel has hooked
is asked of the kernel.
"""

import asyncio
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Self

import pytest

from tests.lab.daemon import Daemon, Settings, daemon
from tests.lab.namespaces import Namespace
from tests.lab.plane import RULESET
from tests.lab.topology import quiet
from tests.netns.wire import datagram, mouth
from vpngate.kernel.live import LiveDataPlane
from vpngate.kernel.neighbours import BaseChain, base_chains
from vpngate.kernel.wire.channel import NETFILTER, Channel
from vpngate.packets import Direction, Endpoint, HookPoint, Transport, parse_address
from vpngate.policy import Throttle

_LASTING = _FLEETING = 300
_MOST_CHAINS = 1024  # at one hook of an interface, by the kernel's MAX_HOOK_COUNT
_SUBSCRIBER = Endpoint(parse_address("100.64.1.2"), 1000)
_REMOTE = Endpoint(parse_address("198.51.100.10"), 2000)


@pytest.fixture
def gate() -> Iterator[Namespace]:
    """A namespace with nothing in it but its loopback."""
    with tempfile.TemporaryDirectory() as folder:
        namespace = Namespace("gate", Path(folder))
        try:
            quiet(namespace)
            namespace.sysctl("net.ipv6.conf.default.disable_ipv6", 1)
            yield namespace
        finally:
            namespace.close()


def _pairs(*names: str) -> list[str]:
    """Lines of ip(8) that make veth pairs that are up; the other end is `far-NAME`."""
    return [
        line
        for name in names
        for line in (
            f"link add {name} type veth peer name far-{name}",
            f"link set {name} up",
            f"link set far-{name} up",
        )
    ]


def _filled(device: str) -> str:
    """A table that leaves no room for another chain at a hook of the device."""
    hook = f"type filter hook ingress device {device} priority 0"
    chains = "\n".join(f"chain c{n} {{ {hook}; }}" for n in range(_MOST_CHAINS))
    return f"table netdev operator {{\n{chains}\n}}\n"


def _hooked(gate: Namespace, point: HookPoint) -> list[str]:
    """The interfaces of vpngate's chains at that hook, as the kernel lists them.

    But for its own, at which the witness stands.
    """

    def listed() -> list[BaseChain]:
        with closing(Channel(NETFILTER)) as channel:
            return base_chains(channel)

    chains = [one for one in gate.call(listed) if one.table == "vpngate"]
    found = [name for one in chains if one.point is point for name in one.devices]
    return sorted(name for name in found if not name.startswith("ifb"))


def _attached(gate: Namespace, names: set[str]) -> bool:
    """Whether each of the names, and no other, is listed once at each hook."""
    return all(_hooked(gate, point) == sorted(names) for point in HookPoint)


def _speak(gate: Namespace, names: set[str]) -> None:
    """A frame into each of the interfaces."""
    frame = datagram(_SUBSCRIBER, _REMOTE, 1)
    for name in names:
        with mouth(gate, f"far-{name}") as speaking:
            speaking.send(frame)


def _seen(running: Daemon) -> float:
    return running.metric("vpngate_traffic_packets_total", direction="upload")


class _Storm:
    """Interfaces that come and go, once and again until a with block ends."""

    def __init__(self, gate: Namespace) -> None:
        self._gate = gate
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._blow)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self._thread.join()

    def _blow(self) -> None:
        names = [f"sub-x{n}" for n in range(_FLEETING)]
        some = 50
        while True:
            for start in range(0, _FLEETING, some):
                self._gate.ip(*_pairs(*names[start : start + some]))
            for start in range(0, _FLEETING, some):
                few = names[start : start + some]
                self._gate.ip(*(f"link del {name}" for name in few))
            if self._enough.is_set():
                return


def _settings(folder: Path) -> Settings:
    settings = Settings(folder / "daemon")
    settings.change(
        gateway={"mode": "enforce", "interfaces": ["sub*", "later0", "later1"]}
    )
    return settings


def _in_the_way(gate: Namespace) -> None:
    """One with an uplink of its own, one with the old qdisc, one full, others' ifb."""
    gate.ip(
        *_pairs("sub-port", "sub-old", "sub-full"),
        "link add br0 type bridge",
        "link set sub-port master br0",
        "link add sub-ifb type ifb",
        "link set sub-ifb up",
    )
    gate.run("tc", "qdisc", "add", "dev", "sub-old", "ingress")
    gate.run("nft", "-f", "-", stdin=_filled("sub-full"))


def test_none_holds_up_the_others(gate: Namespace) -> None:
    names = {f"sub{n}" for n in range(_LASTING)} | {"sub-old"}
    gate.ip(*_pairs(*(f"sub{n}" for n in range(_LASTING))))
    _in_the_way(gate)
    settings = _settings(gate.folder)
    with daemon(gate, settings) as running:
        assert _attached(gate, names)
        left = running.ask("status")["interfaces_left_alone"]
        assert set(left) == {"sub-port", "sub-full", "later0", "later1"}
        assert "br0 stands on it" in left["sub-port"]
        assert running.metric("vpngate_interfaces", state="attached") == len(names)
        assert running.metric("vpngate_interfaces", state="left_alone") == len(left)
        status, told = running.fetch("/healthz")
        assert status == 200
        for name in left:
            assert f"interface {name} is left alone" in told
            line = f"interface {name}: left alone"
            assert running.process.output().count(line) == 1
        prefixes = running.ask("status")["registry"]["prefixes"]["ipv4"]
        with _Storm(gate):
            settings.register("198.51.100.0/24")
            settings.change(gateway={"mode": "observe"})
            running.command("reload")
            state = running.ask("status")
            assert state["mode"] == "observe"
            assert state["registry"]["prefixes"]["ipv4"] == prefixes + 1
            assert names <= set(_hooked(gate, HookPoint.INGRESS))
        gate.ip(
            "link set sub1 name sub-one",  # it still matches
            "link set sub2 name other2",  # it does not
            *_pairs("later0"),
        )
        names = (names - {"sub1", "sub2"}) | {"sub-one", "later0"}
        running.wait_until(lambda: _attached(gate, names), "what is there, attached")
        running.wait_until(
            lambda: set(running.ask("status")["interfaces"]) == names, "as is told"
        )
        left = running.ask("status")["interfaces_left_alone"]
        assert set(left) == {"sub-port", "sub-full", "later1"}
        # Each really is: a frame into it is counted, and counted once.
        before = _seen(running)
        _speak(gate, (names - {"sub-one"}) | {"sub1"})
        running.wait_until(
            lambda: _seen(running) == before + len(names), "a frame from each"
        )
        # Once there is room the next comparison takes it, here one that is asked for.
        gate.run("nft", "delete", "table", "netdev", "operator")
        running.ask("compare")
        names.add("sub-full")
        running.wait_until(lambda: _attached(gate, names), "what was full, attached")
    assert "sub-ifb" in gate.run("ip", "-brief", "link")


def test_verdicts_and_counters_go_on_where_an_interface_is_renamed(
    gate: Namespace,
) -> None:
    """A hook goes with the name since Linux 6.16; before, it stays with the device."""
    gate.ip(*_pairs("sub0", "sub1"))
    throttled = Throttle(Transport.UDP, _SUBSCRIBER, _REMOTE, _SUBSCRIBER.address, 180)
    before, after = (
        replace(RULESET, interfaces=names) for names in (("sub0",), ("sub9",))
    )

    async def passed(plane: LiveDataPlane) -> tuple[int, int]:
        with mouth(gate, "far-sub0") as speaking:
            for number in range(100):
                speaking.send(datagram(_SUBSCRIBER, _REMOTE, number))
        counted = await plane.counters()
        up = Direction.UPLOAD
        return counted.traffic_packets[up], counted.diverted_packets[up]

    async def scenario() -> None:
        plane = LiveDataPlane()
        try:
            await plane.start(before)
            await plane.rearm()
            await plane.throttle([throttled])
            assert await passed(plane) == (100, 100)
            await asyncio.to_thread(gate.ip, "link set sub0 name sub9")
            await plane.replace(after)
            assert await passed(plane) == (200, 200)
            # Another that takes the name is none of ours.
            await asyncio.to_thread(gate.ip, "link set sub1 name sub0")
            assert await plane.verify() == []
            assert _attached(gate, {"sub9"})
        finally:
            await plane.stop()

    gate.call(lambda: asyncio.run(scenario()))
