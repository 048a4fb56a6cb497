# SPDX-License-Identifier: GPL-2.0-or-later
from dataclasses import replace

import pytest

from tests import rulesets
from vpngate.expressions import (
    ChainVerdict,
    DynamicSet,
    Forward,
    Limit,
    LogPacket,
    Lookup,
    Meta,
    MetaKey,
    NamedCounter,
    ReversePathCheck,
    SetMeta,
    VerdictCode,
)
from vpngate.packets import Direction, Family, HookPoint, Transport
from vpngate.ruleset import matching, names, registered
from vpngate.ruleset.composition import compose, hook_of
from vpngate.ruleset.table import Chain, Table
from vpngate.signatures import Field, Shape, Signature

PLAIN = Signature("plain", Transport.UDP, (Shape((Field(0, b"\1"),), ((148, 148),)),))
SAMPLED = Signature(
    "often", Transport.ESP, (Shape((Field(0, bytes(3), differs=True),)),), sampled=True
)

RULESET = replace(rulesets.RULESET, signatures=(PLAIN, SAMPLED))


def chain(table: Table, name: str) -> Chain:
    return next(one for one in table.chains if one.name == name)


def jumps(one: Chain) -> set[str]:
    return {
        step.chain
        for line in one.lines
        for step in line.rule
        if isinstance(step, ChainVerdict) and step.chain is not None
    }


@pytest.mark.parametrize("enforce", [True, False])
@pytest.mark.parametrize("subscriber_side", [True, False])
def test_every_name_used_exists(*, enforce: bool, subscriber_side: bool) -> None:
    ruleset = replace(RULESET, enforce=enforce, subscriber_side=subscriber_side)
    table = compose(ruleset)
    sets = {one.name for one in table.sets}
    seen: set[str] = set()
    for one in table.chains:
        assert jumps(one) <= seen, "chains stand after those they jump to"
        seen.add(one.name)
        for line in one.lines:
            assert line.comment
            assert len(line.comment) < 128
            for step in line.rule:
                if isinstance(step, Lookup | DynamicSet):
                    assert step.set_name in sets
                if isinstance(step, NamedCounter):
                    assert step.name in table.counters
    assert all(one.comment for one in table.sets)


def test_no_verdict_drops() -> None:
    table = compose(RULESET)
    codes = {
        step.code
        for one in table.chains
        for line in one.lines
        for step in line.rule
        if isinstance(step, ChainVerdict)
    }
    allowed = {
        VerdictCode.ACCEPT,
        VerdictCode.GOTO,
        VerdictCode.JUMP,
        VerdictCode.RETURN,
    }
    assert codes <= allowed


@pytest.mark.parametrize("direction", Direction)
@pytest.mark.parametrize("family", Family)
def test_promise_comes_before_anything_touches_a_packet(
    direction: Direction, family: Family
) -> None:
    table = compose(RULESET)
    lines = chain(table, names.throttle(direction, family)).lines
    assert Lookup(names.ARMED, inverted=True) in lines[0].rule
    entrance = registered.entrance(registered.Use.THROTTLE, family)
    assert lines[3].rule == (matching.jump(entrance),)
    protected, spared = names.protected_set(family), names.spared_set(family, 1)
    asking = (*lines[1:3], *chain(table, entrance).lines)
    for line, asked in zip(asking, 2 * [protected] + 2 * [spared], strict=True):
        assert any(
            isinstance(step, Lookup) and step.set_name == asked for step in line.rule
        )
        assert NamedCounter(names.spared_counter(family)) in line.rule
        assert line.rule[-1] == ChainVerdict(VerdictCode.ACCEPT)
    # What is sampled goes on being looked at, and on its way: nothing ends there.
    point = hook_of(direction, RULESET)
    assert lines[4].rule[-1] == matching.jump(names.sample(point, "often"))
    sample = chain(table, names.sample(point, "often"))
    steps = [step for line in sample.lines for step in line.rule]
    assert LogPacket(RULESET.nflog_group) in steps
    assert not {SetMeta, Forward} & {type(step) for step in steps}
    ends = {step for step in steps if isinstance(step, ChainVerdict)}
    assert ends == {matching.RETURN}
    for line in lines[5:]:
        kinds = [type(step) for step in line.rule]
        assert kinds.index(DynamicSet) < kinds.index(NamedCounter)
        assert kinds.index(NamedCounter) < kinds.index(SetMeta)
    assert len(lines) == 4 + 1 + 4


def test_what_is_slowed_goes_to_its_verdicts_ifb_and_no_mark_is_read_or_set() -> None:
    table = compose(RULESET)
    for direction in Direction:
        lines = chain(table, names.throttle(direction, Family.IPV4)).lines[5:]
        for line, carrier in zip(lines, RULESET.carriers, strict=True):
            # Class and ifb stand side by side.
            name = names.verdict_map(direction, Family.IPV4, carrier.transport)
            assert Lookup(name, matching.KEY, matching.VALUE) in line.rule[:-3]
            assert line.rule[-3:] == (
                NamedCounter(names.throttled_counter(direction)),
                SetMeta(MetaKey.PRIORITY, matching.VALUE),
                Forward(matching.VALUE + 1),
            )
    steps = [step for one in table.chains for line in one.lines for step in line.rule]
    keys = {step.key for step in steps if isinstance(step, Meta | SetMeta)}
    assert MetaKey.MARK not in keys


def test_the_directions_swap_with_the_side() -> None:
    assert hook_of(Direction.UPLOAD, RULESET) is HookPoint.INGRESS
    uplink = replace(RULESET, subscriber_side=False)
    assert hook_of(Direction.UPLOAD, uplink) is HookPoint.EGRESS


def test_observe_mode_only_copies() -> None:
    table = compose(replace(RULESET, enforce=False))
    assert not any(
        one.name.startswith(("throttle", "verdicts")) for one in table.chains
    )
    for point in HookPoint:
        assert jumps(chain(table, names.base(point))) == {
            names.transport_candidates(point, signature.transport)
            for signature in RULESET.signatures
        }


@pytest.mark.parametrize("enforce", [True, False])
def test_everything_is_counted_before_anything_is_asked(*, enforce: bool) -> None:
    for subscriber_side in (True, False):
        ruleset = replace(RULESET, enforce=enforce, subscriber_side=subscriber_side)
        table = compose(ruleset)
        for direction in Direction:
            first = chain(table, names.base(hook_of(direction, ruleset))).lines[0]
            assert first.rule == (NamedCounter(names.traffic_counter(direction)),)


def test_hooks_carry_interfaces_and_priority() -> None:
    table = compose(RULESET)
    hook = chain(table, "egress").hook
    assert hook is not None
    assert (hook.point, hook.priority) == (HookPoint.EGRESS, 500)
    assert hook.devices == ("lan0", "lan1")
    without = compose(replace(RULESET, interfaces=()))
    assert all(one.hook is None for one in without.chains)


def test_key_widths_are_those_of_the_headers() -> None:
    table = compose(RULESET)
    widths = {one.name: one.key_width for one in table.sets}
    assert widths["upload_udp_ipv4"] == 12
    assert widths["download_tcp_ipv6"] == 36
    assert widths["upload_esp_ipv4"] == 8
    assert widths["upload_gre_ipv6"] == 32
    assert widths["armed"] == 2
    assert widths["sampled_often_ipv4"] == 8


@pytest.mark.parametrize("strict", [True, False])
def test_a_candidate_is_asked_for_its_way_back_before_any_limit(
    *, strict: bool
) -> None:
    table = compose(replace(RULESET, reverse_path=strict))
    asking = [
        line
        for one in table.chains
        for line in one.lines
        if any(isinstance(step, ReversePathCheck) for step in line.rule)
    ]
    assert len(asking) == strict
    for signature in RULESET.signatures:
        for point in HookPoint:
            first = chain(table, names.copies(point, signature.name)).lines[0].rule
            asked = first == (matching.jump(names.REVERSE_PATH),)
            assert asked is (strict and point is HookPoint.INGRESS)


def test_copies_are_shared_out_and_sampled_ones_come_last() -> None:
    table = compose(RULESET)
    for point in HookPoint:
        copy = chain(table, names.copies(point, "plain")).lines[-2].rule
        assert copy[0] == Limit(5_000, 5_000)
        assert len(chain(table, names.copies(point, "often")).lines) >= 6
    # What takes fragments is one leaf, not one for each family.
    natt = replace(SAMPLED, name="natt", transport=Transport.UDP, fragments=True)
    plain = replace(natt, name="plain", sampled=False)
    table = compose(replace(RULESET, signatures=(natt, plain)))
    _, *lines = chain(table, "egress_udp_ipv4").lines
    assert [line.comment for line in lines] == ["plain", "natt"]


@pytest.mark.parametrize("count", [0, 1, 255, 256, 1000])
def test_each_interface_is_hooked_once_at_each_hook_and_seen_alike(count: int) -> None:
    interfaces = tuple(f"ppp{number}" for number in range(count))
    table = compose(replace(RULESET, interfaces=interfaces))
    for point in HookPoint:
        hooked = [c for c in table.chains if c.hook and c.hook.point is point]
        devices = [c.hook.devices for c in hooked if c.hook]
        assert sum(devices, ()) == interfaces
        assert all(len(few) <= 255 for few in devices)  # as many as Linux takes
        assert len({one.lines for one in hooked}) <= 1
    assert len({one.name for one in table.chains}) == len(table.chains)
