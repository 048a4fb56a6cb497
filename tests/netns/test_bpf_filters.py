# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs that stand by filters of clsact: ours alone come and go, others' never.

A filter outlives the daemon, and clsact may be somebody else's. What the plane promises
over either way of attaching is in `test_bpf_plane.py` and `test_bpf_life.py`.
"""

import asyncio
import contextlib
import json
import signal
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from tests.lab.attachings import ATTACHINGS
from tests.lab.namespaces import Namespace, wait_until
from tests.lab.programmed import PLAIN, REGISTERED, RULES, SLOWED, flow
from tests.lab.standing import programs_at
from tests.netns.test_bpf_life import PROGRAM, Load, pair, slowing
from tests.netns.wire import build
from vpngate.kernel.bpf_steps import BpfSteps
from vpngate.kernel.clearing import clear
from vpngate.kernel.live import LiveDataPlane
from vpngate.kernel.programmed.attachments.by_filters import ByFilters
from vpngate.kernel.programmed.attachments.chosen import has_links
from vpngate.kernel.table.switch import BROKEN
from vpngate.kernel.wire.links import Announcement, What

NEAR, FAR = "vgs-vpngate", "vgr-vpngate"
UNNUMBERED = "protocol ip u32 match u8 0 0 flowid 1:1"
THEIRS = f"pref 9 {UNNUMBERED}"
Steps = Callable[[BpfSteps, LiveDataPlane, Namespace], Awaitable[None]]


def clsact(gateway: Namespace, device: str = "gate0") -> list[dict[str, object]]:
    """What stands where clsact does, with what it has counted."""
    told = json.loads(gateway.run("tc", "-s", "-j", "qdisc", "show", "dev", device))
    return [one for one in told if one["kind"] in ("clsact", "ingress")]


def filters(gateway: Namespace, device: str = "gate0") -> list[tuple[str, int]]:
    """Kind and preference of those at both sides."""
    found = []
    for side in ("ingress", "egress"):
        told = gateway.run(*_FILTERS, device, side, check=False)
        parts = json.loads(told or "[]")
        found += [(p["kind"], p["pref"]) for p in parts if "options" in p]
    return found


_FILTERS = ("tc", "-j", "filter", "show", "dev")
OURS = [("bpf", 65500), ("bpf", 65500)]


def tc(gateway: Namespace, words: str) -> None:
    gateway.run("tc", *words.split())


def in_this_process(
    scenario: Steps, *before: str, then: Callable[[Namespace], None] | None = None
) -> None:
    """A plane at the gateway; `before` is typed there first, `then` looked at last."""

    async def whole(gateway: Namespace) -> None:
        steps = BpfSteps(ByFilters)
        plane = LiveDataPlane(steps=steps)
        try:
            await plane.start(RULES)
            await plane.throttle([flow(SLOWED)])
            await plane.rearm()
            await scenario(steps, plane, gateway)
        finally:
            await plane.stop()

    with build() as wire:
        for words in before:
            wire.gateway.run("sh", "-ec", words)
        wire.gateway.call(lambda: asyncio.run(whole(wire.gateway)))
        if then is not None:
            then(wire.gateway)


def test_it_leaves_nothing_when_it_stops() -> None:
    async def scenario(
        _steps: BpfSteps, plane: LiveDataPlane, gateway: Namespace
    ) -> None:
        assert filters(gateway) == OURS
        assert len(clsact(gateway)) == 1
        assert await plane.verify() == []

    def nothing(gateway: Namespace) -> None:
        assert clsact(gateway) == []

    in_this_process(scenario, then=nothing)


def test_an_operators_clsact_is_used_and_kept() -> None:
    async def scenario(
        _steps: BpfSteps, plane: LiveDataPlane, gateway: Namespace
    ) -> None:
        assert filters(gateway) == OURS
        await plane.replace(replace(RULES, interfaces=()))
        assert filters(gateway) == []
        assert len(clsact(gateway)) == 1
        await plane.replace(RULES)
        assert filters(gateway) == OURS

    def kept(gateway: Namespace) -> None:
        assert filters(gateway) == []
        assert len(clsact(gateway)) == 1

    in_this_process(scenario, "tc qdisc add dev gate0 clsact", then=kept)


def test_a_filter_that_an_operator_hangs_in_ours_is_theirs() -> None:
    """Noticed as it is announced, asked first, and never taken away."""

    async def scenario(
        _steps: BpfSteps, plane: LiveDataPlane, gateway: Namespace
    ) -> None:
        tc(gateway, f"filter add dev gate0 egress {UNNUMBERED}")
        await until(lambda: bool(plane.refused), "told")
        assert "tc filters" in plane.refused["gate0"]
        await until(lambda: OURS[0] not in filters(gateway), "left alone")
        assert {kind for kind, _ in filters(gateway)} == {"u32"}
        assert all(preference < OURS[0][1] for _, preference in filters(gateway))

    def theirs(gateway: Namespace) -> None:
        assert {kind for kind, _ in filters(gateway)} == {"u32"}
        assert len(clsact(gateway)) == 1

    in_this_process(scenario, then=theirs)


@pytest.mark.parametrize(
    ("before", "told", "left"),
    [
        ("tc qdisc add dev gate0 ingress", "queueing discipline ingress", "ingress"),
        (
            "tc qdisc add dev gate0 ingress_block 7 egress_block 8 clsact",
            "shared",
            "clsact",
        ),
    ],
)
def test_where_there_is_no_place_for_it_the_interface_is_left_alone(
    before: str, told: str, left: str
) -> None:
    async def scenario(
        _steps: BpfSteps, plane: LiveDataPlane, gateway: Namespace
    ) -> None:
        assert told in plane.refused["gate0"]
        tc(gateway, f"qdisc del dev gate0 {left}")
        await plane.verify()
        assert not plane.refused
        assert filters(gateway) == OURS

    in_this_process(scenario, before)


async def until(holds: Callable[[], bool], what: str) -> None:
    await asyncio.to_thread(wait_until, holds, what)


@pytest.mark.parametrize(
    "harm",
    [
        "filter del dev gate0 ingress",
        "filter del dev gate0 egress",
        "qdisc del dev gate0 clsact",
        f"filter del dev {NEAR} egress",
        f"qdisc del dev {NEAR} clsact",
    ],
)
def test_what_somebody_deletes_is_back_soon_and_nothing_is_slowed_before(
    harm: str,
) -> None:
    async def scenario(
        steps: BpfSteps, plane: LiveDataPlane, gateway: Namespace
    ) -> None:
        broken: list[float] = []
        break_off = steps.way.break_off

        def noting() -> None:
            broken.append(time.monotonic())
            break_off()

        steps.way.break_off = noting  # type: ignore[method-assign]

        def whole() -> bool:
            armed = steps.programs._times[0:8] != bytes(8)
            standing = filters(gateway, NEAR) == OURS[:1] and filters(gateway) == OURS
            return armed and standing

        assert whole()
        await asyncio.to_thread(tc, gateway, harm)
        await until(lambda: bool(broken), "broken off")
        await until(whole, "mended")
        assert await plane.verify() != []
        assert await plane.verify() == []
        [held] = steps.throttled.verdicts()
        assert held.device == socket.if_nametoindex(NEAR)

    def nothing(gateway: Namespace) -> None:
        assert clsact(gateway) == []

    in_this_process(scenario, then=nothing)


def test_what_is_announced_of_an_interface_with_a_filter_is_a_matter() -> None:
    async def scenario(
        steps: BpfSteps, _plane: LiveDataPlane, _gateway: Namespace
    ) -> None:
        here = socket.if_nametoindex("gate0")
        assert steps.at_once(Announcement(What.FILTER_GONE, here)) is not None
        assert steps.at_once(Announcement(What.FILTER, here)) is None
        assert steps.concerns(Announcement(What.FILTER, here))
        assert not steps.concerns(Announcement(What.FILTER_GONE, 1))

    in_this_process(scenario)


def test_a_program_that_somebody_puts_in_the_place_of_ours_is_replaced() -> None:
    async def scenario(
        steps: BpfSteps, plane: LiveDataPlane, gateway: Namespace
    ) -> None:
        index = socket.if_nametoindex("gate0")
        before = programs_at(index)
        name = "vpngate:vpngate+clsact"
        ByFilters(steps._channels[1], "vpngate").stand_at(
            index,
            dict.fromkeys(steps.hooks._programs(14), steps.programs.near_end),  # type: ignore[attr-defined]
        )
        assert programs_at(index) != before
        assert name in gateway.run("tc", "filter", "show", "dev", "gate0", "ingress")
        await plane.verify()
        assert programs_at(index) == before

    in_this_process(scenario)


def test_filters_go_where_an_interface_is_renamed_or_no_longer_meant() -> None:
    async def scenario(
        _steps: BpfSteps, plane: LiveDataPlane, gateway: Namespace
    ) -> None:
        gateway.ip("link set gate0 down", "link set gate0 name gate1")
        await plane.verify()
        assert filters(gateway, "gate1") == []
        gateway.ip("link set gate1 name gate0", "link set gate0 up")
        await plane.verify()
        assert filters(gateway) == OURS
        await plane.replace(replace(RULES, interfaces=()))
        assert clsact(gateway) == []

    in_this_process(scenario)


def test_a_reload_exchanges_nothing_at_the_hooks_and_nobody_loses_a_packet() -> None:
    with slowing("filters") as (wire, process):
        process.send(signal.SIGTERM)
        process.wait()
        assert clsact(wire.gateway) == []

        async def reloading() -> None:
            steps = BpfSteps(ByFilters)
            plane = LiveDataPlane(steps=steps)
            try:
                await plane.start(RULES)
                await plane.throttle([flow(SLOWED)])
                await plane.rearm()
                index = socket.if_nametoindex("gate0")
                before = programs_at(index)
                load = Load(wire)
                with load:
                    for turn in range(20):
                        rate = 1_000_000 + turn % 2 * 500_000
                        reverse = bool(turn % 2)
                        rules = replace(RULES, rate=rate, reverse_path=reverse)
                        await plane.replace(rules)
                        await plane.rearm()
                for source in (REGISTERED, PLAIN):
                    one = load.flows[source]
                    assert len(one.came) == one.sent
                assert programs_at(index) == before
            finally:
                await plane.stop()

        wire.gateway.call(lambda: asyncio.run(reloading()))


def kill_one(at: contextlib.ExitStack, *before: str) -> Namespace:
    """The gateway with what a killed daemon left."""
    wire, process = at.enter_context(slowing("filters", *before))
    process.send(signal.SIGKILL)
    process.wait()
    assert filters(wire.gateway) == OURS
    return wire.gateway


def test_a_start_takes_over_what_a_killed_one_left() -> None:
    """Without hanging clsact out and in: it goes on counting."""
    with slowing("filters") as (wire, process), Load(wire) as load:
        wait_until(lambda: pair(wire.gateway).went_in > 20, "slowed")
        process.send(signal.SIGKILL)
        process.wait()
        index = wire.gateway.call(lambda: socket.if_nametoindex("gate0"))
        left = wire.gateway.call(lambda: programs_at(index))
        [before] = clsact(wire.gateway)
        with wire.gateway.running(*PROGRAM, "filters") as another:
            another.expect("ready")
            [after] = clsact(wire.gateway)
            assert after["packets"] >= before["packets"] > 0  # type: ignore[operator]
            assert not set(left) & set(wire.gateway.call(lambda: programs_at(index)))
            assert filters(wire.gateway) == OURS
            wait_until(lambda: pair(wire.gateway).went_in > 20, "slowed")
            load.end()
            another.send(signal.SIGTERM)
            another.wait()
        assert clsact(wire.gateway) == []
        for source in (REGISTERED, PLAIN):
            assert len(load.flows[source].came) == load.flows[source].sent


@pytest.mark.parametrize("of", ["links", "nftables"])
def test_a_start_of_another_kind_removes_what_a_killed_one_left(of: str) -> None:
    with contextlib.ExitStack() as stack:
        gateway = kill_one(stack)

        async def start_and_stop(plane: LiveDataPlane) -> None:
            try:
                await plane.start(RULES)
                assert ("bpf", 65500) not in filters(gateway)
                assert clsact(gateway) == []
            finally:
                await plane.stop()

        if of == "links" and not has_links():
            pytest.skip("needs a kernel with links for programs")
        steps = BpfSteps(ATTACHINGS["links"]) if of == "links" else None
        plane = LiveDataPlane(steps=steps)
        gateway.call(lambda: asyncio.run(start_and_stop(plane)))


def test_a_start_over_leftovers_where_others_hang_filters_leaves_these_alone() -> None:
    with contextlib.ExitStack() as stack:
        gateway = kill_one(stack)
        tc(gateway, f"filter add dev gate0 ingress {THEIRS}")
        with gateway.running(*PROGRAM, "filters") as another:
            another.expect("ready")
            assert set(filters(gateway)) == {("u32", 9)}
            another.send(signal.SIGTERM)
            another.wait()
        assert set(filters(gateway)) == {("u32", 9)}


@pytest.mark.parametrize("whose", ["ours", "theirs", "ours, with a filter of theirs"])
def test_clear_removes_exactly_what_a_killed_one_left(whose: str) -> None:
    before = ("qdisc add dev gate0 clsact",) if whose == "theirs" else ()
    with contextlib.ExitStack() as stack:
        gateway = kill_one(stack, *before)
        if "with" in whose:
            tc(gateway, f"filter add dev gate0 egress {THEIRS}")
        other = gateway.call(lambda: clear("another"))
        assert other.removed == ()
        cleared = gateway.call(lambda: clear("vpngate"))
        assert cleared.removed == (
            f"interface {NEAR}",
            "filters of interface gate0",
        )
        assert set(filters(gateway)) == ({("u32", 9)} if "with" in whose else set())
        assert len(clsact(gateway)) == (whose != "ours")
        assert gateway.call(lambda: clear("vpngate")).removed == ()


def test_what_is_put_right_in_passing_is_told_all_the_same() -> None:
    """Whoever looks after verdicts makes pairs anew, too, before a repair can."""

    async def scenario(
        steps: BpfSteps, plane: LiveDataPlane, gateway: Namespace
    ) -> None:
        async with plane._changing:
            await asyncio.to_thread(tc, gateway, f"filter del dev {NEAR} egress")
            await until(lambda: steps.switch.is_kept_off(BROKEN), "broken off")
            await plane._mending.advance()
            assert filters(gateway, NEAR) == OURS[:1]
        await until(lambda: plane._repaired == ["ifb"], "told")
        assert await plane.verify() == ["ifb"]
        assert await plane.verify() == []

    in_this_process(scenario)
