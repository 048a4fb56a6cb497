# SPDX-License-Identifier: GPL-2.0-or-later
"""Starts, changes and stops that fail half way, or whose answer gets lost."""

import errno
import itertools
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from typing import NoReturn

import pytest

from tests.lab.plane import RULESET, in_gateway
from tests.lab.topology import Lab
from vpngate.errors import KernelRefused
from vpngate.kernel.live import LiveDataPlane
from vpngate.kernel.table import cut
from vpngate.kernel.table.owned import OwnedTable
from vpngate.kernel.table.pace import Pace
from vpngate.kernel.table.spared import Batch, SparedSets
from vpngate.kernel.way import Way
from vpngate.kernel.wire.channel import Change, Channel
from vpngate.kernel.wire.failures import Failure, Rejected, Unanswered
from vpngate.packets import Family
from vpngate.prefixes.intervals import Intervals

pytestmark = pytest.mark.netns


def run(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def test_a_change_of_spared_addresses_that_got_lost_is_made_good(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Intervals.of_prefixes(["198.51.100.0/24", "2001:db8:a::/48"])

    async def scenario(plane: LiveDataPlane) -> None:
        await plane.start(RULESET)
        assert await plane.verify() == []
        with monkeypatch.context() as lossy:
            lossy.setattr(Batch, "changes", lambda *_, **__: [])
            await plane.replace(replace(RULESET, spared=other))
        listed = run("nft", "list", "table", "netdev", "vpngate")
        assert "198.51.100.0" in listed
        assert "203.0.113.0" not in listed
        assert await plane.verify() == ["spared"]
        assert await plane.verify() == []
        await plane.replace(RULESET)
        assert await plane.verify() == []

    in_gateway(lab, scenario)


def test_spared_sets_that_cannot_be_read_back_are_filled_anew_later(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    other = Intervals.of_prefixes(["198.51.100.0/24"])

    def broken(*_: object) -> NoReturn:
        raise KernelRefused("netlink socket: no room")

    async def scenario(plane: LiveDataPlane) -> None:
        await plane.start(RULESET)
        with monkeypatch.context() as failing:
            failing.setattr(Batch, "changes", lambda *_, **__: [])
            failing.setattr(OwnedTable, "fill", broken)
            await plane.replace(replace(RULESET, spared=other))
            assert "cannot read back the spared sets" in caplog.text
            with pytest.raises(KernelRefused):
                await plane.verify()
        assert "198.51.100.0" not in run("nft", "list", "table", "netdev", "vpngate")
        assert await plane.verify() == ["spared"]
        assert await plane.verify() == []
        assert "198.51.100.0" in run("nft", "list", "table", "netdev", "vpngate")
        await plane.replace(RULESET)
        assert await plane.verify() == []

    in_gateway(lab, scenario)


def test_a_change_that_failed_leaves_the_way_free_for_the_next(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Intervals.of_prefixes(["198.51.100.0/24"])

    def broken(*_: object) -> NoReturn:
        raise KernelRefused("netlink socket: no room")

    async def scenario(plane: LiveDataPlane) -> None:
        await plane.start(replace(RULESET, interfaces=("lan0",)))
        with monkeypatch.context() as failing:
            failing.setattr(OwnedTable, "new_rules", broken)
            with pytest.raises(KernelRefused):
                await plane.replace(RULESET)
        assert "lan1" not in run("nft", "list", "table", "netdev", "vpngate")
        assert await plane.verify() == []
        await plane.replace(RULESET)
        monkeypatch.setattr("vpngate.plan.LARGEST_DELTA", 0)  # any change swaps
        steps = ((SparedSets, "making"), (OwnedTable, "fill"), (SparedSets, "asking"))
        for owner, step in steps:
            with monkeypatch.context() as failing:
                failing.setattr(owner, step, broken)
                with pytest.raises(KernelRefused):
                    await plane.replace(replace(RULESET, spared=other))
            assert await plane.verify() == []
        await plane.replace(replace(RULESET, spared=other))
        listed = run("nft", "list", "table", "netdev", "vpngate")
        assert "198.51.100.0" in listed
        assert "203.0.113.0" not in listed
        assert await plane.verify() == []

    in_gateway(lab, scenario)


def test_a_change_of_many_parts_that_fails_half_way_is_taken_back(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where that fails, too, fresh sets are filled with what was there before."""
    monkeypatch.setattr(cut, "SHARE", 4)
    monkeypatch.setattr(Pace, "took", lambda *_: None)
    monkeypatch.setattr("vpngate.kernel.table.spared._GONE_THROUGH", (1, 1, 1))
    old = [f"10.{n}.0.0/16" for n in range(0, 40, 2)] + ["2001:db8::/32", "::1/128"]
    new = [*old[3:], *(f"10.{n}.0.0/16" for n in range(1, 40, 4)), "0.0.0.0/5"]
    before, after = (
        replace(RULESET, spared=Intervals.of_prefixes(each)) for each in (old, new)
    )
    commit, attempts = Channel.commit, itertools.count()
    failing: range | None = None

    def fragile(channel: Channel, changes: Sequence[Change]) -> None:
        if failing is not None and next(attempts) in failing:
            raise Rejected([Failure("elements", errno.ENOMEM, "")])
        commit(channel, changes)

    async def equal(plane: LiveDataPlane) -> bool:
        found = await plane.compare()
        return found.equal and plane._steps.ruleset is before

    async def scenario(plane: LiveDataPlane) -> None:
        nonlocal failing, attempts
        await plane.start(before)
        assert plane._steps.spared.cut.parts(Family.IPV4) == 5
        for last in range(6):  # five parts, and the turn
            attempts, failing = itertools.count(), range(last, last + 1)
            with pytest.raises(Rejected):
                await plane.replace(after)
            failing = None
            assert await equal(plane), f"the failure of step {last} left something"
            assert await plane.verify() == []
        attempts, failing = itertools.count(), range(2, 4)
        with pytest.raises(Rejected):
            await plane.replace(after)
        failing = None
        assert await plane.verify() == ["spared"]
        assert await equal(plane)
        await plane.replace(after)
        assert (await plane.compare()).equal

    monkeypatch.setattr(Channel, "commit", fragile)
    in_gateway(lab, scenario)


@pytest.mark.parametrize("swap", [True, False])
def test_a_change_whose_answer_is_lost_is_found_out_about_and_leaves_nothing(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, *, swap: bool
) -> None:
    """The kernel has made it, or not; old or new, the next change finds its way."""
    signatures = tuple(s for s in RULESET.signatures if "esp" not in s.name)
    other = replace(
        RULESET,
        spared=Intervals.of_prefixes(["198.51.100.0/24"]),
        signatures=signatures,
    )
    commit, commits = Channel.commit, itertools.count()
    losing: list[int] = []

    def lossy(channel: Channel, changes: Sequence[Change]) -> None:
        commit(channel, changes)
        if changes and losing and next(commits) == losing[0]:
            raise Unanswered("netlink socket: No buffer space available")

    async def scenario(plane: LiveDataPlane) -> None:
        nonlocal commits
        await plane.start(RULESET)
        for lost in itertools.count():
            commits, losing[:] = itertools.count(), [lost]
            try:
                await plane.replace(other)
            except Unanswered:
                losing.clear()
                await plane.verify()
                assert await plane.verify() == []
                assert "203.0.113.0" in run("nft", "list", "table", "netdev", "vpngate")
            else:
                losing.clear()
                assert lost >= (4 if swap else 2)  # (sets,) addresses, rules; mending
                return
            for ruleset in (other, RULESET):
                await plane.replace(ruleset)
                assert await plane.verify() == []
            listed = run("nft", "list", "table", "netdev", "vpngate")
            assert listed.count("set spared_") == len(Family)

    if swap:
        monkeypatch.setattr("vpngate.plan.LARGEST_DELTA", 0)
    monkeypatch.setattr(Channel, "commit", lossy)
    in_gateway(lab, scenario)


def test_what_fails_behind_a_change_does_not_take_it_back(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> NoReturn:
        raise IndexError("list index out of range")

    async def scenario(plane: LiveDataPlane) -> None:
        await plane.start(RULESET)
        with monkeypatch.context() as failing:
            failing.setattr(Way, "vacate", broken)
            await plane.replace(replace(RULESET, spared=Intervals.empty()))
        assert "cannot clear up behind a change" in caplog.text
        assert "203.0.113.0" not in run("nft", "list", "table", "netdev", "vpngate")
        assert await plane.verify() == []

    in_gateway(lab, scenario)


def test_stopping_goes_on_after_a_step_that_failed(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> NoReturn:
        raise KernelRefused("netlink socket: no room")

    async def scenario(plane: LiveDataPlane) -> None:
        await plane.start(RULESET)
        for step in ("disarm", "destroy"):
            monkeypatch.setattr(OwnedTable, step, broken)
        await plane.stop()

    in_gateway(lab, scenario)
    assert caplog.text.count("cannot clear up") == 2
    assert "vpngate" not in lab.gateway.run("nft", "list", "ruleset")
    assert "ifb" not in lab.gateway.run("ip", "link")
    assert "clsact" not in lab.gateway.run("tc", "qdisc")


def test_a_start_that_fails_half_way_leaves_nothing(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> NoReturn:
        raise KernelRefused("netlink socket: no room")

    async def scenario(plane: LiveDataPlane) -> None:
        steps = (
            (OwnedTable, ("create", "fill", "new_rules")),
            (SparedSets, ("making", "create")),
        )
        for owner, step in ((owner, step) for owner, each in steps for step in each):
            with monkeypatch.context() as failing:
                failing.setattr(owner, step, broken)
                with pytest.raises(KernelRefused, match="no room"):
                    await plane.start(RULESET)
            assert "ifb" not in run("ip", "link")
            assert "vpngate" not in run("nft", "list", "ruleset")
        await plane.start(RULESET)
        assert await plane.verify() == []

    in_gateway(lab, scenario)
