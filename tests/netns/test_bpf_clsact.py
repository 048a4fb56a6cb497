# SPDX-License-Identifier: GPL-2.0-or-later
"""Whose clsact it is, and that everybody's packets are lost as seldom as can be.

While clsact is hung in or taken away the kernel empties the queue of the interface, for
innocents, too. So it stays where programs leave an interface for a while, and goes at
the end: if it is ours, and nobody else stands in it.
"""

import asyncio
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from tests.lab.namespaces import LabError, Namespace, wait_until
from tests.lab.programmed import RULES
from tests.lab.standing import programs_at
from tests.netns.test_bpf_filters import (
    OURS,
    THEIRS,
    clsact,
    filters,
    in_this_process,
    tc,
    until,
)
from vpngate.errors import KernelRefused, Problem
from vpngate.kernel.bpf_steps import BpfSteps
from vpngate.kernel.clearing import clear
from vpngate.kernel.live import LiveDataPlane
from vpngate.kernel.programmed import unfit
from vpngate.kernel.wire import tc as wire_tc
from vpngate.kernel.wire.channel import Channel

HOOK = "type filter hook ingress device gate0 priority 0;"
CHAIN = f"table netdev own {{ chain c {{ {HOOK} }}; }}"
NO_CHAIN = "delete table netdev own"


def sees_packets(gateway: Namespace) -> int:
    """Have some go out; how many the clsact there has seen, since it is there."""

    def say() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as speaking:
            for _ in range(5):
                speaking.sendto(b"something", ("10.77.0.1", 9))

    gateway.call(say)
    [one] = clsact(gateway)
    seen = one["packets"]
    assert isinstance(seen, int)
    return seen


@contextmanager
def somebody_quicker(patched: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Who hangs clsact in just after we have asked whether there is one."""
    asked: list[int] = []
    real = wire_tc.kind_at

    def kind_at(channel: Channel, interface: int, parent: int) -> str:
        found = real(channel, interface, parent)
        here = interface == socket.if_nametoindex("gate0")
        if here and not found and not asked:
            asked.append(interface)
            subprocess.run(("tc", "qdisc", "add", "dev", "gate0", "clsact"), check=True)
        return found

    with patched.context() as context:
        context.setattr(wire_tc, "kind_at", kind_at)
        yield asked


def test_one_that_somebody_hangs_in_at_the_same_moment_is_theirs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario(
        _steps: BpfSteps, plane: LiveDataPlane, gateway: Namespace
    ) -> None:
        assert asked
        assert not plane.refused
        assert filters(gateway) == OURS
        told = gateway.run("tc", "filter", "show", "dev", "gate0", "ingress")
        assert "+clsact" not in told

    def theirs(gateway: Namespace) -> None:
        assert filters(gateway) == []
        assert len(clsact(gateway)) == 1

    with somebody_quicker(monkeypatch) as asked:
        in_this_process(scenario, then=theirs)


def failing(*_: object) -> None:
    raise KernelRefused(Problem("read a list", "it changed each time"))


def test_a_question_that_fails_for_a_moment_changes_nothing_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As where links come and go while they are listed: nobody has said no."""

    async def scenario(
        _steps: BpfSteps, plane: LiveDataPlane, gateway: Namespace
    ) -> None:
        index = socket.if_nametoindex("gate0")
        before = sees_packets(gateway), programs_at(index)
        with monkeypatch.context() as patched:
            patched.setattr(unfit, "what_it_needs", failing)
            for _ in range(2):
                assert await plane.verify() == []
                assert not plane.refused
        assert filters(gateway) == OURS
        assert programs_at(index) == before[1]
        assert sees_packets(gateway) > before[0] > 0

    in_this_process(scenario)


def test_a_new_one_that_cannot_be_asked_waits_until_it_can(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario(
        _steps: BpfSteps, plane: LiveDataPlane, gateway: Namespace
    ) -> None:
        await plane.replace(replace(RULES, interfaces=()))
        with monkeypatch.context() as patched:
            patched.setattr(unfit, "what_it_needs", failing)
            await plane.replace(RULES)
            await plane.verify()
            assert set(plane.refused) == {"gate0"}
            assert filters(gateway) == []
        await plane.verify()
        assert not plane.refused
        assert filters(gateway) == OURS

    in_this_process(scenario)


@pytest.mark.parametrize("stopped", ["while it is refused", "when it is had again"])
def test_a_refusal_that_may_pass_takes_filters_alone(stopped: str) -> None:
    """Nobody loses a packet for it, neither then nor when it has passed."""

    async def scenario(
        _steps: BpfSteps, plane: LiveDataPlane, gateway: Namespace
    ) -> None:
        seen = [sees_packets(gateway)]
        gateway.run("nft", CHAIN)
        await plane.verify()
        assert set(plane.refused) == {"gate0"}
        assert filters(gateway) == []
        seen.append(sees_packets(gateway))
        if stopped == "when it is had again":
            gateway.run("nft", NO_CHAIN)
            await plane.verify()
            assert not plane.refused
            assert filters(gateway) == OURS
            told = gateway.run("tc", "filter", "show", "dev", "gate0", "ingress")
            assert "+clsact" in told
            seen.append(sees_packets(gateway))
        assert seen == sorted(seen)  # it is the same, and counts where a filter is
        assert seen[0] > 0

    def nothing(gateway: Namespace) -> None:
        assert clsact(gateway) == []

    in_this_process(scenario, then=nothing)


def test_one_that_is_taken_away_meanwhile_is_no_longer_ours() -> None:
    async def scenario(
        steps: BpfSteps, plane: LiveDataPlane, gateway: Namespace
    ) -> None:
        gateway.run("nft", CHAIN)
        await plane.verify()
        assert filters(gateway) == []
        tc(gateway, "qdisc del dev gate0 clsact")
        tc(gateway, "qdisc add dev gate0 clsact")
        hooks = steps._interfaces
        assert hooks is not None
        await until(lambda: not hooks._attachment.kept, "told")

    def theirs(gateway: Namespace) -> None:
        assert len(clsact(gateway)) == 1

    in_this_process(scenario, then=theirs)


def test_one_that_others_use_by_then_stays_at_the_end() -> None:
    async def scenario(
        _steps: BpfSteps, plane: LiveDataPlane, gateway: Namespace
    ) -> None:
        gateway.run("nft", CHAIN)
        await plane.verify()
        tc(gateway, f"filter add dev gate0 egress {THEIRS}")

    def theirs(gateway: Namespace) -> None:
        assert set(filters(gateway)) == {("u32", 9)}
        assert gateway.call(lambda: clear("vpngate")).removed == ()

    in_this_process(scenario, then=theirs)


def test_a_rename_takes_filters_alone_and_the_end_takes_clsact() -> None:
    """The interface lives on, with everybody else's packets."""

    async def scenario(
        _steps: BpfSteps, _plane: LiveDataPlane, gateway: Namespace
    ) -> None:
        seen = sees_packets(gateway)
        try:
            gateway.ip("link set gate0 name gate1")
        except LabError:  # kernels before 6.2 have it down for that
            down, up = "link set gate0 down", "link set gate1 up"
            gateway.ip(down, "link set gate0 name gate1", up)
        gone = "filters gone at once"
        await asyncio.to_thread(wait_until, lambda: not filters(gateway, "gate1"), gone)
        [one] = clsact(gateway, "gate1")
        assert one["packets"] >= seen  # type: ignore[operator]

    def nothing(gateway: Namespace) -> None:
        assert clsact(gateway, "gate1") == []

    in_this_process(scenario, then=nothing)
