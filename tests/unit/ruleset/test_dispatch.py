# SPDX-License-Identifier: GPL-2.0-or-later
"""Each packet comes to the one chain of its family and transport, at little cost."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests import rulesets
from tests.unit.signatures.netdev_hook import Break, Packet, Registers
from tests.unit.tunnels.crafting import network
from vpngate.expressions import ChainVerdict, Expression, Lookup, NamedCounter
from vpngate.packets import Direction, Family, HookPoint, Transport
from vpngate.ruleset import Ruleset, names
from vpngate.ruleset.composition import compose, hook_of, verdict_lines
from vpngate.ruleset.table import Chain, Line

OBSERVING = replace(rulesets.RULESET, enforce=False)
MODES = pytest.mark.parametrize("ruleset", [rulesets.RULESET, OBSERVING])
FAMILIES = pytest.mark.parametrize("family", Family, ids=lambda f: f.label)
TRANSPORTS = (Transport.TCP, Transport.UDP, Transport.ESP, Transport.GRE)


def frame(transport: Transport, family: Family, payload: bytes) -> bytes:
    ipv6 = family is Family.IPV6
    raw = network(transport, payload, (40000, 443), ipv6=ipv6)
    return bytes(12) + (b"\x86\xdd" if ipv6 else b"\x08\x00") + raw


class Way:
    """What a packet without a verdict goes through: chains, look-ups, expressions."""

    def __init__(self, ruleset: Ruleset, point: HookPoint, packet: bytes) -> None:
        self._chains = {one.name: one for one in compose(ruleset).chains}
        self._packet = Packet(packet)
        self.chains: list[str] = []
        self.asked: list[str] = []
        self.evaluated = 0
        self._walk(self._chains[names.base(point)])

    def _walk(self, chain: Chain) -> bool:
        """Whether the walk is over: whoever is gone to does not come back."""
        self.chains.append(chain.name)
        for line in chain.lines:
            for verdict in self._rule(line):
                assert verdict.chain is not None, "ordinary traffic is not accepted"
                over = self._walk(self._chains[verdict.chain])
                if over or verdict.code.name == "GOTO":
                    return True
        return False

    def _rule(self, line: Line) -> Iterator[ChainVerdict]:
        registers = Registers()
        try:
            for step in line.rule:
                self.evaluated += 1
                if isinstance(step, ChainVerdict):
                    yield step
                else:
                    self._step(step, registers)
        except Break:
            pass

    def _step(self, step: Expression, registers: Registers) -> None:
        if isinstance(step, Lookup):
            self.asked.append(step.set_name)
            raise Break
        if not isinstance(step, NamedCounter):
            self._packet.step(step, registers)


@FAMILIES
@pytest.mark.parametrize("transport", TRANSPORTS, ids=lambda t: t.label)
@pytest.mark.parametrize("direction", Direction)
def test_a_packet_is_asked_for_its_verdict_once(
    direction: Direction, transport: Transport, family: Family
) -> None:
    ruleset = rulesets.RULESET
    point = hook_of(direction, ruleset)
    # GRE that a verdict on a PPTP tunnel is for, an SPI that is none: no candidates.
    payload = b"\0\1\x88\x0b" if transport is Transport.GRE else bytes(4)
    payload += b"\xff" * 60
    way = Way(ruleset, point, frame(transport, family, payload))
    assert way.asked[:1] == [names.verdict_map(direction, family, transport)]
    verdicts = [name for name in way.asked if name.startswith(("upload", "download"))]
    assert len(verdicts) == 1
    assert names.flows(point, transport, family) in way.chains
    assert len(way.chains) == len(set(way.chains))


@MODES
def test_what_is_nobodys_meets_no_set(ruleset: Ruleset) -> None:
    others = [
        *(frame(Transport(253), family, bytes(64)) for family in Family),
        bytes(12) + b"\x08\x06" + b"\x11" * 46,  # ARP, with UDP's number at that place
        bytes(12) + b"\x88\xcc" + b"\x06" * 46,
    ]
    for point in HookPoint:
        for packet in others:
            assert Way(ruleset, point, packet).asked == []


@FAMILIES
@pytest.mark.parametrize(
    ("transport", "observing", "enforcing"),
    [(Transport.TCP, 18, 28), (Transport.UDP, 23, 33)],
    ids=("tcp", "udp"),
)
def test_ordinary_traffic_is_on_its_way_after_a_few_expressions(
    transport: Transport, observing: int, enforcing: int, family: Family
) -> None:
    packet = frame(transport, family, b"\xff" * 600)
    for ruleset, most in ((OBSERVING, observing), (rulesets.RULESET, enforcing)):
        for point in HookPoint:
            way = Way(ruleset, point, packet)
            assert way.evaluated <= most, (ruleset.enforce, point)
            assert len(way.chains) <= 2 + (ruleset.enforce and family is Family.IPV6)


@MODES
def test_every_chain_is_led_to(ruleset: Ruleset) -> None:
    table = compose(ruleset)
    led_to = {
        step.chain
        for one in table.chains
        for line in one.lines
        for step in line.rule
        if isinstance(step, ChainVerdict)
    }
    alone = {one.name for one in table.chains if not one.hook} - led_to
    # Those come and go by themselves: registrations, and what stands at the ifbs.
    assert {name for name in alone if not names.is_lasting(name)} == set()


def test_behind_a_verdict_stands_what_is_asked_without_verdicts() -> None:
    enforcing, observing = (
        {chain.name: chain.lines for chain in compose(ruleset).chains}
        for ruleset in (rulesets.RULESET, OBSERVING)
    )
    for point in HookPoint:
        for transport in TRANSPORTS:
            asked = observing[names.transport_candidates(point, transport)]
            for family in Family:
                _, *behind = enforcing[names.flows(point, transport, family)]
                assert tuple(behind) == asked != ()


@pytest.mark.parametrize("subscriber_side", [True, False])
def test_each_question_for_a_verdict_stands_first_and_is_called_as_no_other(
    *, subscriber_side: bool
) -> None:
    """So it can be taken out by its name, and put back where it was."""
    ruleset = replace(rulesets.RULESET, subscriber_side=subscriber_side)
    lines = verdict_lines(ruleset)
    chains = {chain.name: chain.lines for chain in compose(ruleset).chains}
    assert len(lines) == 2 * len(Direction) * len(ruleset.carriers)
    for name, line in lines.items():
        first, *others = chains[name]
        assert first == line
        assert line.comment not in {one.comment for one in others}
    maps = {
        names.verdict_map(direction, family, carrier.transport)
        for direction in Direction
        for family in Family
        for carrier in ruleset.carriers
    }
    asked = [
        name
        for name, those in chains.items()
        if not name.startswith("throttle_")
        for line in those
        for step in line.rule
        if isinstance(step, Lookup) and step.set_name in maps
    ]
    assert sorted(asked) == sorted(lines)


def test_who_observes_asks_for_no_verdict() -> None:
    assert verdict_lines(OBSERVING) == {}
