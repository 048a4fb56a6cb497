# SPDX-License-Identifier: GPL-2.0-or-later
"""What is told to everybody is what the daemon knows, in the report's form."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, cast

from jsonschema import Draft202012Validator

from tests.house import ROOT
from tests.unit.daemon.gatehouse import (
    CONFIG,
    MEMBER,
    NOW,
    STRANGER,
    SUBSCRIBER,
    Gatehouse,
    handshake,
    registry,
    snapshot,
)
from vpngate.daemon.traffic.capture_loop import CaptureLoop
from vpngate.daemon.wellbeing.freshness import Freshness
from vpngate.daemon.wellbeing.health import Health
from vpngate.daemon.wellbeing.kernel_counters import KernelCounters
from vpngate.daemon.wellbeing.public_facts import PublicView
from vpngate.daemon.wellbeing.report import Report
from vpngate.daemon.wellbeing.self_check import SelfCheck
from vpngate.packets import Endpoint, Family, parse_address
from vpngate.public.address_standing import AddressKind
from vpngate.public.question import parse_question
from vpngate.registry import carry_over
from vpngate.stance import HaltReason

VALIDATOR = Draft202012Validator(
    json.loads((ROOT / "docs" / "report.schema.json").read_text())
)


class Capture:
    """What a report says of the capture: nothing was lost."""

    captured, losses, heard = 4, {"overrun": 0}, float("inf")


class Switch:
    armed = True


class House(Gatehouse):
    """A gatehouse that tells of itself."""

    async def open(self) -> None:
        await super().open()
        counters = KernelCounters(self.plane, self.metrics)
        capture = cast("CaptureLoop", Capture())
        self.switch = Switch()
        health = Health(
            self.current, capture, cast("Any", self.switch), self.plane, self.metrics
        )
        freshness = Freshness(self.clock)
        self.report = Report(
            self.current, freshness, self.pipeline, capture, counters, health
        )

        async def status() -> dict[str, Any]:
            await counters.refresh()
            return self.report.status()

        def armed() -> bool:
            return self.switch.armed

        self.public = PublicView(
            *(self.current, self.pipeline, counters, self.metrics),
            *(lambda: self.now, armed, list, status),
        )
        self.check = SelfCheck(
            self.current,
            self.plane,
            lambda: self.now,
            lambda s: s.registry.covered(NOW),
            armed,
        )

    async def see(self, near: Endpoint, far: Endpoint, index: int = 7) -> None:
        heard = handshake(far, index=index, subscriber=near)
        for due in self.pipeline.take(heard, 1.0, NOW):
            await self.plane.throttle(due.flows)


def lived(life: Callable[[House], Awaitable[None]], text: str = CONFIG) -> None:
    async def scenario() -> None:
        house = House(snapshot(text))
        await house.open()
        try:
            await life(house)
        finally:
            house.applying.cancel()

    asyncio.run(scenario())


def test_a_report_of_a_daemon_has_the_documented_form_and_its_numbers() -> None:
    async def life(house: House) -> None:
        await house.see(SUBSCRIBER, STRANGER)
        await house.see(SUBSCRIBER, MEMBER, 8)
        house.metrics.halted(HaltReason.WITNESS)
        report = json.loads(json.dumps(await house.public.report()))
        assert [error.message for error in VALIDATOR.iter_errors(report)] == []
        tunnel = report["tunnels"]["wireguard"]
        assert tunnel["up"] == 2
        assert (tunnel["flows"]["allow"], tunnel["flows"]["throttle"]) == (1, 1)
        assert report["classes"]["throttle"]["flows"] == 1
        assert report["slowed_flows"] == 1
        assert set(report["tunnels"]) >= {"ipsec", "openvpn", "l2tp", "pptp"}
        assert report["halts"]["witness"] == 1
        assert sum(report["halts"].values()) == 1
        assert (report["stance"]["mode"], report["stance"]["acting"]) == (
            "enforce",
            True,
        )
        text = json.dumps(report)
        for end in (SUBSCRIBER, STRANGER, MEMBER):
            assert str(end).partition(":")[0] not in text

    lived(life)


def test_a_switch_that_is_off_is_said() -> None:
    async def life(house: House) -> None:
        house.switch.armed = False
        report = await house.public.report()
        assert (report["stance"]["mode"], report["stance"]["acting"]) == (
            "enforce",
            False,
        )

    lived(life)


def test_the_hour_counts_what_came_in_it(monkeypatch: Any) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    async def life(house: House) -> None:
        house.public.note()
        await house.see(SUBSCRIBER, STRANGER)
        now[0] += 30
        house.public.note()
        now[0] += 40
        hour = (await house.public.report())["last_hour"]
        assert hour["flows"]["wireguard"]["throttle"][-1] == 1
        assert hour["up"]["wireguard"][-1] == 1
        assert hour["flows"]["openvpn"]["throttle"][-1] == 0
        assert hour["flows"]["wireguard"]["throttle"][:-1] == [None] * 59

    lived(life)


def test_who_stands_by_grace_alone_is_counted() -> None:
    rows = "prefix,registration,valid_until\n"
    past = "203.0.113.0/24,R-1,2027-01-14\n198.51.100.0/24,R-2,\n"
    held = carry_over(
        registry("prefix,registration\n2001:db8:9::/48,R-9\n"),
        registry(rows + past),
        3 * 86400.0,
        NOW,
    )
    assert held.in_grace(NOW) == {Family.IPV4: 1, Family.IPV6: 1}
    assert held.in_grace(NOW + 4 * 86400)[Family.IPV6] == 0


def test_a_self_check_tells_of_the_address_alone() -> None:
    async def life(house: House) -> None:
        own, other = SUBSCRIBER.address, parse_address("100.64.1.3")
        assert not await house.check.slowed(own)
        await house.see(SUBSCRIBER, STRANGER)
        assert await house.check.slowed(own)
        assert not await house.check.slowed(other)
        assert not await house.check.slowed(STRANGER.address)
        house.switch.armed = False
        assert not await house.check.slowed(own)
        house.switch.armed = True
        seen = house.current.snapshot
        stance = replace(seen.stance, mode=snapshot(OBSERVE).stance.mode)
        house.current.snapshot = replace(seen, stance=stance)
        assert not await house.check.slowed(own)
        assert house.check.standing(parse_question("203.0.113.1")).is_spared
        assert house.check.trusted() == ()
        gateways = house.current.snapshot.machine.addresses
        assert gateways
        assert all(map(house.check.is_own, gateways))
        assert not house.check.is_own(own)

    lived(life)


def test_a_large_registry_is_not_merged_for_each_question() -> None:
    merged: list[None] = []  # the clock is read by a question, and by a merge

    def now() -> float:
        merged.append(None)
        return NOW

    async def life(house: House) -> None:
        check = SelfCheck(
            *(house.current, house.plane, now, lambda _: None, lambda: True)
        )
        for _ in range(3):
            partly = check.standing(parse_question("203.0.112.0/23"))
            assert partly.kind is AddressKind.PARTLY
        assert len(merged) == 3 + 1
        before = house.current.snapshot
        rows = "prefix,registration\n203.0.112.0/23,R-1\n"
        house.current.snapshot = replace(before, registry=registry(rows))
        assert check.standing(parse_question("203.0.112.0/24")).is_spared
        partly = check.standing(parse_question("203.0.112.0/22"))
        assert partly.kind is AddressKind.PARTLY
        assert len(merged) == 5 + 2

    lived(life)


OBSERVE = CONFIG.replace("enforce", "observe")
