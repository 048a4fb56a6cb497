# SPDX-License-Identifier: GPL-2.0-or-later
"""What is urgent waits for nobody, with many interfaces and while these come and go.

Turning off needs no turn of the kernel's thread; what takes long is asked or made
elsewhere, or in short steps.
"""

import asyncio
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.lab.attachings import over_each
from tests.lab.namespaces import Namespace
from tests.lab.standing import programs_at
from tests.netns.test_bpf_filters import until
from tests.netns.test_bpf_plane import HOST, RULES, Running, at_the_gateway, flow
from vpngate.kernel.bpf.taken_off import what_it_needs
from vpngate.kernel.bpf_steps import BpfSteps
from vpngate.kernel.live import LiveDataPlane
from vpngate.kernel.programmed import made_ahead, unfit
from vpngate.kernel.wire.links import Announcement, What
from vpngate.prefixes.intervals import Intervals
from vpngate.ruleset import Ruleset

pytestmark = over_each

NEAR = "vgs-vpngate"
KERNELS = "vpngate-kernel"  # the thread that nothing may keep for long
MANY = Intervals.of_prefixes(
    [f"192.168.{n >> 7}.{(n & 127) * 2}/32" for n in range(3000)]
)


def lay(gateway: Namespace, *names: str) -> None:
    lines = "".join(f"link add {one} type veth peer name {one}p\n" for one in names)
    gateway.run("ip", "-batch", "-", stdin=lines)


def many_of(gateway: Namespace, count: int) -> tuple[str, ...]:
    names = tuple(f"many{number:03}" for number in range(count))
    lay(gateway, *names)
    return names


def with_all(*names: str) -> Ruleset:
    return replace(RULES, interfaces=("gate0", *names))


def armed(steps: BpfSteps) -> bool:
    """Whether the time until which programs slow is any."""
    return steps.programs._times[0:8] != bytes(8)


async def observe(plane: LiveDataPlane) -> None:
    await plane.replace(replace(RULES, enforce=False))


def has_pair() -> bool:
    try:
        return bool(socket.if_nametoindex(NEAR))
    except OSError:
        return False


async def soon(holds: Callable[[], bool]) -> None:
    """What waits for nothing is so by then, on whatever machine."""
    deadline = time.monotonic() + 3
    while not holds():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


@contextmanager
def kept_busy(plane: LiveDataPlane) -> Iterator[threading.Event]:
    """The kernel's thread waits, as for a lock that somebody holds for seconds."""
    over, done = threading.Event(), threading.Event()

    def busy() -> None:
        over.wait(20)
        done.set()

    plane._lanes.urge(busy)
    try:
        yield over
    finally:
        over.set()
        assert done.wait(20)


@pytest.mark.parametrize("how", ["disarm", "observe", "the pair is deleted"])
def test_turning_off_waits_for_nothing(attaching: str, how: str) -> None:
    """Not for who holds the kernel's lock of links, nor for a rearm asked before."""

    async def scenario(running: Running) -> None:
        plane, steps = running.plane, running.steps
        await plane.throttle([flow()])
        assert await plane.rearm()
        assert await running.send(3) == 3
        assert await running.diverted() == 3
        with kept_busy(plane):
            waiting: list[asyncio.Task[Any]] = [asyncio.create_task(plane.rearm())]
            await asyncio.sleep(0)
            if how == "disarm":
                waiting.append(asyncio.create_task(plane.disarm()))
            elif how == "observe":
                waiting.append(asyncio.create_task(observe(plane)))
            else:
                await asyncio.to_thread(running.wire.gateway.ip, f"link del {NEAR}")
            await soon(lambda: not armed(steps))
            assert await running.send(3) == 3
        await asyncio.gather(*waiting)
        if how != "the pair is deleted":
            assert not armed(steps)
            assert await running.diverted() == 3
        if how == "disarm":
            assert await plane.rearm()
            assert await running.send(3) == 3
            assert await running.diverted() == 6

    at_the_gateway(attaching, scenario)


def test_a_rearm_is_in_force_after_what_was_urgent(attaching: str) -> None:
    """An interface that is renamed away turns off for a moment, and no longer."""

    async def scenario(running: Running) -> None:
        plane, steps, gateway = running.plane, running.steps, running.wire.gateway
        lay(gateway, "other0")
        await plane.replace(with_all("other0"))
        assert await plane.rearm()
        await asyncio.to_thread(gateway.ip, "link set other0 name another0")
        index = socket.if_nametoindex("another0")
        await until(lambda: not programs_at(index), "left")
        await until(lambda: armed(steps), "on again")

    at_the_gateway(attaching, scenario)


@contextmanager
def urgent_steps(steps: BpfSteps) -> Iterator[list[tuple[What, int]]]:
    """What was announced that did not wait for a repair."""
    real, found = steps.at_once, list[tuple[What, int]]()

    def at_once(news: Announcement) -> Callable[[], None] | None:
        urgent = real(news)
        if urgent is not None:
            found.append((news.what, news.index))
        return urgent

    steps.at_once = at_once  # type: ignore[method-assign]
    yield found
    steps.at_once = real  # type: ignore[method-assign]


def test_interfaces_that_are_deleted_need_nothing_urgent(attaching: str) -> None:
    async def scenario(running: Running) -> None:
        plane, steps, gateway = running.plane, running.steps, running.wire.gateway
        many = many_of(gateway, 40)
        await plane.replace(with_all(*many))
        hooks = steps._interfaces
        assert hooks is not None
        assert set(hooks._attached) == {"gate0", *many}
        await plane.rearm()
        assert await plane.verify() == []
        lines = "".join(f"link del {one}\n" for one in many)
        with urgent_steps(steps) as urgent:
            await asyncio.to_thread(gateway.run, "ip", "-batch", "-", stdin=lines)
            await until(lambda: set(hooks._attached) == {"gate0"}, "let go")
        assert urgent == []
        assert await plane.verify() == []  # there was nothing to put right
        assert set(hooks._names.values()) == {"gate0"}

    at_the_gateway(attaching, scenario)


def test_what_moves_or_is_renamed_is_urgent_and_a_port_that_leaves_is_not(
    attaching: str,
) -> None:
    """A port is announced to be gone from its bridge, and lives on."""

    async def scenario(running: Running) -> None:
        plane, steps, gateway = running.plane, running.steps, running.wire.gateway
        names = ("moved0", "named0", "port0")
        lay(gateway, *names)
        gateway.ip("link add br0 type bridge")
        await plane.replace(with_all(*names))
        index = {one: socket.if_nametoindex(one) for one in names}
        standing = programs_at(index["port0"])
        assert len(standing) == 2
        with tempfile.TemporaryDirectory() as folder, urgent_steps(steps) as urgent:
            other = Namespace("other", Path(folder))
            try:
                gateway.ip("link set port0 master br0", "link set port0 nomaster")
                gateway.ip("link set named0 name name0")
                gateway.ip(f"link set moved0 netns {other.path}")
                await until(lambda: len(urgent) > 1, "urgent")
                await asyncio.sleep(0.3)
            finally:
                other.close()
        assert (What.LINK, index["named0"]) in urgent
        assert (What.LINK_GONE, index["moved0"]) in urgent
        assert index["port0"] not in {where for _, where in urgent}
        assert programs_at(index["port0"]) == standing

    at_the_gateway(attaching, scenario)


def test_a_look_at_interfaces_holds_up_nothing_urgent(
    attaching: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where each answer waits for who holds the kernel's lock of links."""
    real = what_it_needs

    def slowly(*args: Any) -> Any:
        time.sleep(0.2)
        return real(*args)

    async def scenario(running: Running) -> None:
        plane = running.plane
        many = many_of(running.wire.gateway, 8)
        await plane.replace(with_all(*many))
        monkeypatch.setattr(unfit, "what_it_needs", slowly)
        looking = asyncio.create_task(plane.verify())
        waited = []
        while not looking.done():
            begin = time.monotonic()
            await plane.rearm()
            waited.append(time.monotonic() - begin)
            await asyncio.sleep(0.01)
        assert await looking == []
        assert max(waited) < 0.5  # of the 1.8 s that the look takes
        monkeypatch.undo()

    at_the_gateway(attaching, scenario)


def test_what_was_announced_is_looked_at_first(attaching: str) -> None:
    """Not when its turn comes, which with many interfaces is minutes later."""
    matching = "protocol ip u32 match u8 0 0 classid 1:1"

    async def scenario(running: Running) -> None:
        plane, gateway = running.plane, running.wire.gateway
        many = many_of(gateway, 100)
        await plane.replace(with_all(*many))
        harmed = {many[7], many[61], many[98], "gate0"}
        for one in sorted(harmed):
            here = f"tc qdisc add dev {one} clsact 2>&1 || true"
            there = f"tc filter add dev {one} egress {matching}"
            await asyncio.to_thread(gateway.run, "sh", "-ec", f"{here}\n{there}")
        await until(lambda: set(plane.refused) == harmed, "noticed")

    at_the_gateway(attaching, scenario)


@contextmanager
def noting_loads(patched: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The threads in which programs are loaded."""
    real, threads = made_ahead.load, list[str]()

    def load(*args: Any, **kwargs: Any) -> made_ahead.StageSet:
        threads.append(threading.current_thread().name)
        return real(*args, **kwargs)

    with patched.context() as context:
        context.setattr(made_ahead, "load", load)
        yield threads


def test_no_change_has_programs_loaded_while_urgent_things_wait(
    attaching: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = (
        Intervals.of_prefixes(["198.51.100.0/24"]),
        Intervals.of_prefixes(["203.0.113.0/24"]),
    )

    async def scenario(running: Running) -> None:
        plane = running.plane
        lay(running.wire.gateway, "other0")
        both = replace(RULES, reverse_path=False, spared=others[0])
        slower = replace(both, rate=both.rate // 2, deadman=both.deadman + 1)
        more = replace(slower, interfaces=("gate0", "other0"), spared=others[1])
        with noting_loads(monkeypatch) as threads:
            for rules in (both, slower, more):
                await plane.replace(rules)
                assert KERNELS not in threads
                assert bool(threads) is (rules is not slower)
                assert await plane.verify() == []
                threads.clear()
            for protected in (MANY, MANY.union(others[0])):
                await plane.protect(protected)
                assert KERNELS not in threads
                assert bool(threads) is (protected is MANY)  # then there is room
                threads.clear()
            mine = Intervals.of_prefixes([f"{HOST}/32"])
            await plane.protect(MANY.union(mine))
            impose = running.steps.throttled.throttle
            await plane._do(impose, [flow()], time.monotonic())
            await plane.rearm()
            assert await running.send(3) == 3
            assert await running.diverted() == 0

    at_the_gateway(attaching, scenario)


def test_it_stops_pairs_first_and_many_interfaces_in_short_steps(
    attaching: str,
) -> None:
    there: list[bool] = []

    async def scenario(running: Running) -> None:
        plane, steps = running.plane, running.steps
        many = many_of(running.wire.gateway, 60)
        await plane.replace(with_all(*many))
        hooks = steps._interfaces
        assert hooks is not None
        leave_few = hooks.leave_few

        def noting() -> None:
            there.append(has_pair())
            leave_few()

        hooks.leave_few = noting  # type: ignore[method-assign]
        await plane.stop()
        for one in ("gate0", *many):
            assert programs_at(socket.if_nametoindex(one)) == []

    at_the_gateway(attaching, scenario)
    assert len(there) > 1
    assert not any(there)


def test_of_several_who_protect_the_last_counts_though_the_first_takes_longer(
    attaching: str,
) -> None:
    async def scenario(running: Running) -> None:
        plane = running.plane
        mine = Intervals.of_prefixes([f"{HOST}/32"])
        older = asyncio.create_task(plane.protect(MANY))  # needs larger programs
        await asyncio.sleep(0.01)
        newer = asyncio.create_task(plane.protect(mine))
        await asyncio.gather(older, newer)
        impose = running.steps.throttled.throttle
        await plane._do(impose, [flow()], time.monotonic())
        await plane.rearm()
        assert await running.send(3) == 3
        assert await running.diverted() == 0
        assert await plane.verify() == []

    at_the_gateway(attaching, scenario)


def test_who_is_to_be_protected_is_not_slowed_while_the_lane_is_busy(
    attaching: str,
) -> None:
    async def scenario(running: Running) -> None:
        plane = running.plane
        await plane.throttle([flow()])
        await plane.rearm()
        assert await running.send(3) == 3
        slowed = await running.diverted()
        assert slowed == 3
        with kept_busy(plane):
            mine = Intervals.of_prefixes([f"{HOST}/32"])
            task = asyncio.create_task(plane.protect(mine))
            await soon(lambda: not armed(running.steps))
            assert await running.send(3) == 3
        await task
        assert armed(running.steps)  # for everybody else
        assert await running.diverted() == slowed

    at_the_gateway(attaching, scenario)
