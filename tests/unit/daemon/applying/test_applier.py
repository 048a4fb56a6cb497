# SPDX-License-Identifier: GPL-2.0-or-later
"""A change reaches the kernel first, then everyone; or nobody at all."""

import asyncio
import threading
import time
from collections.abc import Callable

import pytest
from netaddr import IPNetwork

from tests.unit.daemon.gatehouse import (
    CONFIG,
    NOW,
    REGISTRY,
    STRANGER,
    Gatehouse,
    config_read,
    fetched,
    handshake,
)
from vpngate.attachment.machine import Machine
from vpngate.daemon.applying import in_kernel
from vpngate.daemon.applying.events import (
    ConfigUnreadable,
    MachineSeen,
    RegistryFetched,
)
from vpngate.errors import KernelRefused, UnreadableInput
from vpngate.kernel.dryrun import DryRunDataPlane
from vpngate.packets import parse_address
from vpngate.policy import Throttle
from vpngate.prefixes.intervals import Intervals
from vpngate.ruleset import Ruleset
from vpngate.snapshot import Snapshot
from vpngate.timekeeping.moments import Span, When, format_moment

WITH_STRANGER = REGISTRY + "198.51.100.0/24,R-9\n"
FEWER = '[tunnels]\nenabled = ["wireguard"]\n'


async def throttling(gatehouse: Gatehouse) -> None:
    """Start, and have the stranger throttled."""
    await gatehouse.open()
    (due,) = gatehouse.pipeline.take(handshake(), 1.0, NOW)
    await gatehouse.plane.throttle(due.flows)
    assert len(gatehouse.plane.flows) == 1


def test_registering_ends_the_verdict_and_is_decided_by_at_once() -> None:
    async def scenario() -> None:
        gatehouse = Gatehouse()
        await throttling(gatehouse)
        assert await gatehouse.take(fetched(WITH_STRANGER))
        assert gatehouse.plane.flows == []
        assert gatehouse.plane.ruleset.spared.contains(STRANGER.address)
        assert gatehouse.current.snapshot.lookup(STRANGER.address, NOW) is not None
        assert gatehouse.pipeline.take(handshake(index=8), 2.0, NOW) == []

    asyncio.run(scenario())


def test_a_refused_configuration_is_told_until_another_is_taken() -> None:
    """The registry that the one before waited for does not make up for it."""

    async def scenario() -> None:
        gatehouse = Gatehouse()
        await gatehouse.open()
        await gatehouse.take(config_read(CONFIG + "enforce_share = 7\n"))
        with pytest.raises(UnreadableInput):
            await gatehouse.take(ConfigUnreadable(UnreadableInput("no such file")))
        await gatehouse.take(fetched(WITH_STRANGER))
        assert gatehouse.current.snapshot.config.gateway.enforce_share == 7
        assert gatehouse.metric("config_last_reload_successful") == 0
        await gatehouse.take(config_read(CONFIG + "enforce_share = 7\n"))
        await gatehouse.take(RegistryFetched(None))
        assert gatehouse.metric("config_last_reload_successful") == 1

    asyncio.run(scenario())


def test_what_the_kernel_refuses_is_in_force_nowhere() -> None:
    class Refusing(DryRunDataPlane):
        async def replace(self, ruleset: Ruleset) -> None:
            raise KernelRefused(f"table {ruleset.table}: no memory")

    async def scenario() -> None:
        gatehouse = Gatehouse(plane=Refusing())
        await throttling(gatehouse)
        before = gatehouse.current.snapshot
        with pytest.raises(KernelRefused, match="no memory"):
            await gatehouse.take(fetched(WITH_STRANGER))
        assert gatehouse.current.snapshot is before
        assert len(gatehouse.plane.flows) == 1
        assert gatehouse.pipeline.take(handshake(index=8), 2.0, NOW) != []

    asyncio.run(scenario())


def test_a_change_that_fails_behind_the_kernels_is_undone_as_time_passes() -> None:
    """The kernel has taken it, the rest has not: it may not stay so."""

    class Stuck(DryRunDataPlane):
        async def release(self, chosen: Callable[[Throttle], bool]) -> int:
            raise KernelRefused(f"no answer: {chosen}")

    async def scenario() -> None:
        gatehouse = Gatehouse(plane=Stuck())
        await gatehouse.open()
        before = gatehouse.plane.ruleset
        with pytest.raises(KernelRefused, match="no answer"):
            await gatehouse.take(config_read(CONFIG + FEWER))
        assert gatehouse.plane.ruleset != before
        assert await gatehouse.age()
        assert gatehouse.plane.ruleset == before
        assert not await gatehouse.age()

    asyncio.run(scenario())


def test_the_kernel_is_left_alone_where_nothing_differs_for_it() -> None:
    async def scenario() -> None:
        gatehouse = Gatehouse()
        await throttling(gatehouse)
        assert not await gatehouse.take(config_read(CONFIG))
        assert len(gatehouse.plane.flows) == 1

    asyncio.run(scenario())


BEGINS = 1_800_057_600.0  # 2027-01-16T00:00:00Z
DATED = f"""\
prefix,registration,tunnels,valid_from,valid_until
198.51.100.0/24,R-9,,{format_moment(BEGINS)},
"""


async def waiting(gatehouse: Gatehouse) -> None:
    """Start with a registration of the stranger that has yet to begin."""
    await gatehouse.open()
    await gatehouse.take(fetched(DATED))
    assert not gatehouse.plane.ruleset.spared.contains(STRANGER.address)


@pytest.mark.parametrize("late", [0.0, 1.0, 86400.0])
def test_time_alone_can_change_what_the_kernel_holds(late: float) -> None:
    async def scenario() -> None:
        gatehouse = Gatehouse()
        await waiting(gatehouse)
        gatehouse.now = BEGINS - 1.0
        assert not await gatehouse.age()
        gatehouse.now = BEGINS + late
        assert await gatehouse.age()
        assert gatehouse.plane.ruleset.spared.contains(STRANGER.address)
        assert not await gatehouse.age()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("now", "looks"),
    [
        pytest.param(NOW + 60.0, 0, id="nothing begins or ends"),
        pytest.param(NOW - 60.0, 1, id="the clock was set back"),
        pytest.param(Span(NOW, NOW + 60.0), 1, id="the clock is in doubt"),
        pytest.param(BEGINS, 1, id="a registration begins"),
    ],
)
def test_time_is_worked_out_anew_only_where_it_can_matter(
    monkeypatch: pytest.MonkeyPatch, now: When, looks: int
) -> None:
    async def scenario() -> None:
        gatehouse = Gatehouse()
        await waiting(gatehouse)
        asked = []
        ruleset = Snapshot.ruleset

        def counting(
            snapshot: Snapshot, now: When, spared: Intervals | None
        ) -> Ruleset:
            asked.append(now)
            assert spared is None
            return ruleset(snapshot, now)

        monkeypatch.setattr(Snapshot, "ruleset", counting)
        gatehouse.now = now
        await gatehouse.age()
        assert asked == [now] * looks

    asyncio.run(scenario())


def test_another_machine_has_no_prefix_merged_anew() -> None:
    async def scenario() -> None:
        gatehouse = Gatehouse()
        await waiting(gatehouse)
        spared = gatehouse.plane.ruleset.spared
        wanted = gatehouse.applier.situation.wanted
        await gatehouse.take(MachineSeen(wanted, Machine(("lan0", "lan7"))))
        assert gatehouse.plane.ruleset.interfaces == ("lan0", "lan7")
        assert gatehouse.plane.ruleset.spared is spared
        gatehouse.now = BEGINS
        await gatehouse.take(MachineSeen(wanted, Machine(("lan0", "lan8"))))
        assert gatehouse.plane.ruleset.spared.contains(STRANGER.address)

    asyncio.run(scenario())


def test_while_the_clock_is_in_doubt_nothing_is_settled() -> None:
    async def scenario() -> None:
        gatehouse = Gatehouse()
        gatehouse.now = Span(NOW, BEGINS)
        await gatehouse.open()
        await gatehouse.take(fetched(DATED))
        assert gatehouse.plane.ruleset.spared.contains(STRANGER.address)
        gatehouse.now = NOW
        assert await gatehouse.age()
        assert not gatehouse.plane.ruleset.spared.contains(STRANGER.address)

    asyncio.run(scenario())


def test_changes_are_made_one_at_a_time() -> None:
    """Each builds on the one before, however they are asked for."""

    async def scenario() -> None:
        gatehouse = Gatehouse()
        await gatehouse.open()
        names = [f"lan{n}" for n in range(1, 9)]
        machines = [Machine(("lan0", *names[: n + 1])) for n in range(8)]
        shares = range(90, 10, -10)
        await asyncio.gather(
            *(
                gatehouse.take(event)
                for machine, share in zip(machines, shares, strict=True)
                for event in (
                    MachineSeen(gatehouse.current.snapshot.config, machine),
                    config_read(f"{CONFIG}enforce_share = {share}\n", machine),
                    fetched(f"{REGISTRY}198.51.100.0/24,R-{share}\n"),
                )
            )
        )
        assert gatehouse.plane.ruleset.interfaces == ("lan0", *names)
        snapshot = gatehouse.current.snapshot
        assert snapshot.config.gateway.enforce_share == 20
        found = snapshot.lookup(STRANGER.address, NOW)
        assert found is not None
        assert found.id == "R-20"
        assert gatehouse.pipeline._snapshot is snapshot

    asyncio.run(scenario())


LAN = IPNetwork("198.51.100.0/24")


@pytest.mark.parametrize(
    ("rows", "protect", "warned"),
    [
        (f"{LAN},R-9\n", "", True),
        ("198.51.0.0/16,R-9\n", "", True),
        ("198.51.100.0/25,R-9\n198.51.100.128/25,R-10\n", "", True),
        ("198.51.100.0/25,R-9\n", "", False),
        (f"{LAN},R-9\n", f'[protect]\nprefixes = ["{LAN}"]\n', False),
    ],
)
def test_a_registry_that_covers_a_network_of_subscribers_is_told_once(
    rows: str, protect: str, *, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        gatehouse = Gatehouse()
        current = gatehouse.current
        await gatehouse.open()
        networks = frozenset({LAN, IPNetwork("2001:db8::/64")})
        machine = Machine(("lan0",), networks=networks)
        await gatehouse.take(MachineSeen(current.snapshot.config, machine))
        assert current.spared_networks == []
        for _ in range(3):
            await gatehouse.take(config_read(CONFIG + protect, machine))
            await gatehouse.take(fetched(REGISTRY + rows))
        assert current.spared_networks == [LAN] * warned
        # Taken all the same: what is registered is spared.
        assert gatehouse.plane.ruleset.spared.contains(parse_address("198.51.100.7"))
        assert caplog.text.count(f"{LAN}: the registry covers") == warned
        await gatehouse.take(fetched(REGISTRY))
        assert current.spared_networks == []

    asyncio.run(scenario())


def test_a_stop_does_not_wait_for_a_million_prefixes_to_be_merged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    merging, released = threading.Event(), threading.Event()

    def held(*_: object) -> None:
        merging.set()
        released.wait(60)

    async def scenario() -> None:
        gatehouse = Gatehouse()
        await gatehouse.open()
        monkeypatch.setattr(in_kernel, "_held", held)
        change = asyncio.create_task(gatehouse.take(fetched(WITH_STRANGER)))
        await asyncio.to_thread(merging.wait, 30)
        gatehouse.applying.cancel()
        with pytest.raises(asyncio.CancelledError):
            await change

    begin = time.monotonic()
    try:
        asyncio.run(scenario())  # and nothing of the loop's own is waited for
        assert merging.is_set()
        assert time.monotonic() - begin < 50
    finally:
        released.set()
