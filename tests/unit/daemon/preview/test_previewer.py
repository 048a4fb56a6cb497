# SPDX-License-Identifier: GPL-2.0-or-later
"""What a preview foresees is what happens, and tells nobody about one address."""

import asyncio
import json
import os
import re
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import pytest

from tests.unit.daemon.gatehouse import (
    CONFIG,
    MEMBER,
    NOW,
    REGISTRY,
    STRANGER,
    Gatehouse,
    config_read,
    fetched,
    handshake,
    snapshot,
)
from vpngate.daemon.outside.handed_over import FILES, sealed
from vpngate.daemon.preview import previewer as previewing
from vpngate.daemon.preview.previewer import Previewer
from vpngate.daemon.preview.ration import MOST
from vpngate.daemon.preview.telling import told
from vpngate.daemon.traffic.catching_up import CatchingUp
from vpngate.daemon.wellbeing.kernel_counters import KernelCounters
from vpngate.errors import InvalidConfig, Refused, WrongUse
from vpngate.packets import Endpoint, format_address, parse_address
from vpngate.policy import is_chosen
from vpngate.prefixes.intervals import Intervals
from vpngate.prefixes.packed import pack

OBSERVE = CONFIG.replace("enforce", "observe")


def subscriber(number: int) -> Endpoint:
    return Endpoint(parse_address(f"100.64.{number // 200}.{number % 200 + 2}"), 40000)


class House(Gatehouse):
    """A gatehouse with a previewer, and flows under way."""

    async def open(self) -> None:
        await super().open()
        counters = KernelCounters(self.plane, self.metrics)
        seen = self.current, self.pipeline, self.plane, counters
        clock = lambda: self.now  # noqa: E731
        self.previewer = Previewer(*seen, clock, lambda _: None)
        self.catching_up = CatchingUp(self.pipeline, self.plane, clock)
        self.catching_up.consider(self.current.snapshot)
        self.current.told.append(self._consider)
        self.running = asyncio.create_task(self.catching_up.run())

    def _consider(self) -> None:
        self.catching_up.consider(self.current.snapshot)

    async def see(self, *pairs: tuple[Endpoint, Endpoint]) -> None:
        """Handshakes between subscribers and remotes, and what follows from them."""
        for number, (near, far) in enumerate(pairs):
            heard = handshake(far, index=number, subscriber=near)
            for due in self.pipeline.take(heard, 1.0, NOW):
                await self.plane.throttle(due.flows)

    async def preview(self, *contents: bytes, **arguments: Any) -> dict[str, Any]:
        files = [sealed(content) for content in contents]
        try:
            FILES.set(files)
            return await self.previewer.serve(arguments)
        finally:
            for one in files:
                os.close(one)

    async def by_registry(self, *prefixes: str) -> dict[str, Any]:
        spared = pack(Intervals.of_prefixes(prefixes))
        return await self.preview(spared, registry=True)


def lived(text: str, life: Callable[[House], Awaitable[Any]]) -> Any:
    async def scenario() -> Any:
        house = House(snapshot(text))
        await house.open()
        return await life(house)

    return asyncio.run(scenario())


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers without chance, for what they are about."""
    without = partial(told, chance=lambda: 0)
    monkeypatch.setattr(previewing, "told", without)


STRANGERS = [(subscriber(n), STRANGER) for n in range(3)]
REGISTERED = [(subscriber(9), MEMBER)]


def test_enforcing_does_what_was_foreseen() -> None:
    async def life(house: House) -> None:
        await house.see(*STRANGERS, *REGISTERED)
        found = await house.preview()
        assert found["tunnels"] == {
            "wireguard": {
                "up": 4,
                "would_be_slowed": 3,
                "left_alone": 1,
                "newly_slowed": 3,
                "no_longer_slowed": 0,
            }
        }
        assert found["subscribers"]["newly_slowed"] == 3
        assert found["compared_with"] == "now"
        assert found["registered_touched"] == 0
        assert house.plane.flows == []
        await house.take(config_read(CONFIG))
        await house.take(fetched(REGISTRY))
        for _ in range(100):
            await asyncio.sleep(0.01)
            if len(house.plane.flows) >= 3:
                break
        slowed = {flow.subscriber for flow in house.plane.flows}
        assert slowed == {near for near, _ in STRANGERS}
        (tunnel,) = (await house.preview())["tunnels"].values()
        assert (tunnel["would_be_slowed"], tunnel["newly_slowed"]) == (3, 0)

    lived(OBSERVE, life)


def test_a_share_is_of_the_subscribers_that_it_will_be() -> None:
    async def life(house: House) -> None:
        await house.see(*((subscriber(n), STRANGER) for n in range(100)))
        for percent in (0, 30, 100):
            (tunnel,) = (await house.preview(share=percent))["tunnels"].values()
            chosen = sum(
                is_chosen(near.address, b"key", percent / 100)
                for near in map(subscriber, range(100))
            )
            assert tunnel["would_be_slowed"] == chosen
            assert tunnel["left_alone"] == 100 - chosen

    lived(OBSERVE, life)


def test_a_flow_whose_handshake_was_forgotten_is_up_while_it_has_a_verdict() -> None:
    async def life(house: House) -> None:
        await house.see(*STRANGERS)
        house.pipeline.flows.clear()
        (tunnel,) = (await house.preview())["tunnels"].values()
        assert (tunnel["up"], tunnel["would_be_slowed"]) == (3, 3)

    lived(CONFIG, life)


@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize("text", [OBSERVE, CONFIG])
def test_another_registry_frees_and_slows(text: str) -> None:
    async def life(house: House) -> None:
        strangers = [(subscriber(n), STRANGER) for n in range(20)]
        members = [(subscriber(50 + n), MEMBER) for n in range(15)]
        await house.see(*strangers, *members)
        far = format_address(STRANGER.address)
        found = await house.by_registry(f"{far}/32")
        assert found["tunnels"]["wireguard"] == {
            "up": 35,
            "slowed_before": 20,
            "subscribers_newly_slowed": 15,
            "subscribers_no_longer_slowed": 20,
        }
        enforcing = text == CONFIG
        with_what = "now" if enforcing else "enforcing what is in force"
        assert found["compared_with"] == with_what
        assert found["registered_touched"] == 0
        same = await house.by_registry("203.0.113.0/24")
        (tunnel,) = same["tunnels"].values()
        assert tunnel["subscribers_newly_slowed"] is None
        assert tunnel["subscribers_no_longer_slowed"] is None

    lived(text, life)


@pytest.mark.usefixtures("exact")
def test_another_configuration() -> None:
    async def life(house: House) -> None:
        await house.see(*((subscriber(n), STRANGER) for n in range(20)))

        async def no_longer(text: str) -> Any:
            spared = pack(house.snapshot.registry.covered(NOW))
            found = await house.preview(
                spared, text.encode(), registry=True, config=True
            )
            (tunnel,) = found["tunnels"].values()
            return tunnel["subscribers_no_longer_slowed"], found["notes"]

        assert (await no_longer(CONFIG))[0] is None
        protecting = CONFIG + '[protect]\nprefixes = ["198.51.100.0/24"]\n'
        assert (await no_longer(protecting))[0] == 20
        number, notes = await no_longer(CONFIG + '[tunnels]\nenabled = ["pptp"]\n')
        assert number == 20
        assert any("tunnels.enabled" in note for note in notes)
        with pytest.raises(InvalidConfig):
            await no_longer(CONFIG + "[nonsense]\n")
        with pytest.raises(WrongUse):
            await house.preview(
                pack(Intervals.empty()), b"\xff", registry=True, config=True
            )

    lived(CONFIG, life)


@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize("around", [0, 1, 4, 8])
def test_two_registries_that_differ_by_an_address_are_answered_alike(
    around: int,
) -> None:
    """Whether X has a tunnel; others are registered beside it, whose tunnels one has.

    The exact numbers, which status tells of the registry in force, would give it away.
    """

    async def life(house: House) -> tuple[Any, Any]:
        mine = [subscriber(n) for n in range(around)]
        victim = subscriber(100)
        await house.see(*((near, STRANGER) for near in (*mine, victim)))
        listed = [f"{format_address(one.address)}/32" for one in mine]
        x = f"{format_address(victim.address)}/32"
        without = await house.by_registry(*listed, "203.0.113.0/24")
        with_x = await house.by_registry(*listed, x, "203.0.113.0/24")
        return without, with_x

    without, with_x = lived(CONFIG, life)
    assert without == with_x


def test_one_subscriber_less_is_at_most_twice_as_likely_an_answer() -> None:
    """Also where tunnels of one's own bring the number to where it tips over."""
    rounds = 20_000  # so that chance is not what decides
    for number in range(6, 18):
        counts: dict[int | None, list[int]] = {}
        for place, each in enumerate((number, number + 1)):
            for _ in range(rounds):
                counts.setdefault(told(each), [0, 0])[place] += 1
        for answer, (one, other) in counts.items():
            if max(one, other) > rounds / 10:
                assert 0.4 < (one + 1) / (other + 1) < 2.5, (number, answer)


def test_few_are_hardly_told_and_many_nearly() -> None:
    assert sum(told(0) is None for _ in range(1000)) > 950
    assert all(abs((told(1000) or 0) - 1000) < 64 + 5 for _ in range(100))


def test_no_more_than_so_many_of_what_the_caller_chose() -> None:
    async def life(house: House) -> None:
        await house.see(*STRANGERS)
        for _ in range(MOST):
            await house.by_registry("203.0.113.0/24")
        with pytest.raises(Refused, match="again in 60 min"):
            await house.by_registry("203.0.113.0/24")
        await house.preview()

    lived(OBSERVE, life)


def test_one_at_a_time() -> None:
    async def life(house: House) -> None:
        await house.see(*STRANGERS)
        both = await asyncio.gather(
            house.preview(), house.preview(), return_exceptions=True
        )
        refused = [one for one in both if isinstance(one, Refused)]
        assert len(refused) == 1
        assert "another one is under way" in str(refused[0])
        await house.preview()

    lived(OBSERVE, life)


@pytest.mark.parametrize(
    "arguments",
    [
        {"address": "100.64.0.2"},
        {"share": 101},
        {"share": -1},
        {"share": True},
        {"share": "5"},
        {"share": 5.0},
        {"registry": 1},
        {"registry": True},
        {"config": True},
        {"registry": True, "config": "no"},
    ],
)
def test_what_is_no_question_is_refused(arguments: Mapping[str, Any]) -> None:
    async def life(house: House) -> None:
        with pytest.raises(WrongUse):
            await house.preview(**arguments)
        await house.preview()  # and nothing is left of it

    lived(OBSERVE, life)


def test_what_is_no_registry_is_refused() -> None:
    async def life(house: House) -> None:
        for content in (b"", b"prefix,registration\n", bytes(100)):
            with pytest.raises(WrongUse, match="the registry that was handed over"):
                await house.preview(content, registry=True)

    lived(OBSERVE, life)


def test_no_address_is_in_an_answer() -> None:
    async def life(house: House) -> list[dict[str, Any]]:
        await house.see(*STRANGERS, *REGISTERED)
        far = format_address(STRANGER.address)
        return [await house.preview(), await house.by_registry(f"{far}/32")]

    for text in map(json.dumps, lived(CONFIG, life)):
        assert not re.search(r"\d+\.\d+\.\d+|[0-9a-f]*:[0-9a-f]*:", text)


def test_what_observing_would_have_done_is_counted() -> None:
    async def life(house: House) -> None:
        observed = house.pipeline.observed
        await house.see(*STRANGERS, *REGISTERED, *STRANGERS)
        assert observed.slowed == {"wireguard": 3}
        assert observed.registered == 0
        observed.spared_by = lambda _: Intervals.of_prefixes(["100.64.0.0/10"])
        await house.see((subscriber(77), STRANGER))
        assert observed.registered == 1

    lived(OBSERVE, life)


def test_nothing_is_noted_while_it_is_done() -> None:
    async def life(house: House) -> None:
        await house.see(*STRANGERS)
        assert not house.pipeline.observed.slowed

    lived(CONFIG, life)
