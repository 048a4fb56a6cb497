# SPDX-License-Identifier: GPL-2.0-or-later
"""Who tests or sets marks, from the kernel's answers; some from other kernels."""

import struct
import sys
from collections.abc import Iterable

import pytest

from tests.unit.kernel.survey.test_neighbours import (
    answer,
    filter_answer,
    nested,
    string,
    word,
)
from vpngate.expressions import (
    Base,
    Bitwise,
    ChainVerdict,
    Compare,
    CompareOp,
    Immediate,
    Limit,
    Lookup,
    Meta,
    MetaKey,
    Payload,
    Rule,
    SetMeta,
    VerdictCode,
)
from vpngate.kernel.survey.marks import (
    ALL_BITS,
    MarkUse,
    read_nft_rules,
    read_routing_rules,
    read_tc_filters,
)
from vpngate.kernel.wire.attributes import HEADER, attribute
from vpngate.kernel.wire.messages import new_rule
from vpngate.ruleset.table import Line

BIT = 0x40000000
MARK = Meta(MetaKey.MARK)
SET = SetMeta(MetaKey.MARK)
ACCEPT = ChainVerdict(VerdictCode.ACCEPT)


def host(value: int) -> bytes:
    return value.to_bytes(4, sys.byteorder)


def masked(mask: int, flipped: int = 0) -> Bitwise:
    return Bitwise(host(mask), host(flipped))


def uses(data: bytes) -> list[tuple[int, int]]:
    return [(use.value, use.mask) for use in read_nft_rules([data])]


@pytest.mark.parametrize(
    ("rule", "concerned"),
    [
        ((MARK, Compare(host(BIT)), ACCEPT), True),
        ((MARK, Compare(host(7)), ACCEPT), False),
        ((MARK, masked(0xF0000000), Compare(host(0x10000000)), ACCEPT), True),
        ((MARK, masked(BIT), Compare(host(0), CompareOp.NEQ), ACCEPT), True),
        ((MARK, masked(0xFF), Compare(host(7)), ACCEPT), False),
        ((MARK, masked(BIT), Lookup("s"), ACCEPT), True),
        ((MARK, Lookup("s", into=1), Compare(host(BIT)), ACCEPT), False),
        ((MARK, masked(0xFF), masked(BIT), Compare(host(0)), ACCEPT), False),
        ((Immediate(host(BIT | 1)), SET), True),
        ((Immediate(host(7)), SET), False),
        ((MARK, masked(ALL_BITS & ~BIT, BIT), SET), True),  # mark or BIT
        ((MARK, masked(0xFF), SET), False),  # cleared before we set it
        ((Payload(Base.NETWORK, 12, 4), Compare(host(BIT))), False),
        ((Payload(Base.NETWORK, 12, 4), masked(BIT), Compare(host(BIT))), False),
        ((Payload(Base.NETWORK, 12, 4), Lookup("s")), False),
        ((MARK, Payload(Base.NETWORK, 12, 4), Compare(host(BIT))), False),
        ((MARK, Payload(Base.NETWORK, 12, 4, 2), Compare(host(BIT))), True),
        ((Payload(Base.NETWORK, 12, 4), SET), False),  # whatever comes
        ((MARK, Immediate(host(1)), Compare(host(BIT))), False),
        ((Meta(MetaKey.PRIORITY), Compare(host(BIT))), False),
        ((Immediate(host(BIT)), SetMeta(MetaKey.PRIORITY)), False),
        ((MARK, Limit(1, 1), Compare(host(BIT))), True),
    ],
)
def test_a_rule(rule: Rule, concerned: bool) -> None:  # noqa: FBT001
    data = new_rule("own", "late", Line(rule, "x")).data[HEADER.size :]
    found = list(read_nft_rules([data]))
    assert any(use.concerns(BIT) for use in found) is concerned
    assert {use.where for use in found} <= {"nft netdev own late handle 0"}


def expression(name: str, *parts: bytes) -> bytes:
    return nested(1, string(1, name), nested(2, *parts))


def rule(*expressions: bytes) -> bytes:
    place = (string(1, "own"), string(2, "c"), attribute(3, struct.pack(">Q", 9)))
    return answer(2, *place, nested(4, *expressions))


def constant(value: int) -> bytes:
    return attribute(1, host(value))


def test_connections_marks() -> None:
    load = expression("ct", word(1, 1), word(2, 3))
    compare = expression("cmp", word(1, 8), word(2, 0), nested(3, constant(BIT)))
    store = expression("ct", word(4, 1), word(2, 3))
    loaded = expression("immediate", word(1, 1), nested(2, constant(BIT)))
    state = expression("ct", word(1, 1), word(2, 0))
    assert uses(rule(load, compare)) == [(BIT, ALL_BITS)]
    assert uses(rule(loaded, store)) == [(BIT, ALL_BITS)]
    assert uses(rule(load, store)) == [(0, ALL_BITS)]
    assert uses(rule(state, compare)) == []
    (use,) = read_nft_rules([rule(load, compare)])
    assert use.where == "nft ip own c handle 9"


def test_a_shift_is_followed_no_further() -> None:
    load = expression("meta", word(1, 1), word(2, 3))
    shift = expression("bitwise", word(1, 1), word(2, 1), word(3, 4), word(6, 1))
    compare = expression("cmp", word(1, 1), word(2, 0), nested(3, constant(BIT)))
    assert uses(rule(load, shift, compare)) == []


@pytest.mark.parametrize(
    ("kind", "name", "value", "mask", "found"),
    [
        ("match", "mark", BIT, BIT, [(BIT, BIT)]),
        ("match", "connmark", 1, 0xFF, [(1, 0xFF)]),
        ("match", "comment", BIT, BIT, []),
        ("target", "MARK", BIT, 0xFF, [(BIT, ALL_BITS)]),
        ("target", "CONNMARK", BIT, BIT, [(BIT, ALL_BITS)]),
        ("target", "mark", BIT, BIT, []),
    ],
)
def test_what_iptables_puts_into_nftables(
    kind: str, name: str, value: int, mask: int, found: list[tuple[int, int]]
) -> None:
    data = attribute(3, struct.pack("=IIB", value, mask, 0))
    assert uses(rule(expression(kind, string(1, name), word(2, 1), data))) == found
    short = attribute(3, b"1234")
    assert uses(rule(expression(kind, string(1, name), word(2, 1), short))) == []


def routing_rule(*parts: bytes) -> bytes:
    return bytes((2, *bytes(11))) + b"".join(parts)


def test_routing_rules() -> None:
    found = read_routing_rules(
        [
            routing_rule(attribute(6, host(100)), attribute(10, host(7))),
            routing_rule(attribute(10, host(BIT)), attribute(16, host(BIT))),
            routing_rule(attribute(6, host(0))),
        ]
    )
    assert list(found) == [
        MarkUse("ip rule 100", 7, ALL_BITS),
        MarkUse("ip rule 0", BIT, BIT),
    ]


def tc(answers: Iterable[bytes]) -> list[MarkUse]:
    return list(read_tc_filters(answers, {7: "lan0"}))


def test_filters() -> None:
    """Of kinds that not every kernel has: fw, and u32 with a mark."""
    mark = attribute(10, struct.pack("=III", BIT, BIT, 0))
    assert tc(
        [
            filter_answer("fw", 0),
            filter_answer("fw", 7),
            filter_answer("fw", BIT, attribute(5, host(BIT))),
            filter_answer("u32", 1, mark),
            filter_answer("u32", 1),
            filter_answer("bpf", BIT),
        ]
    ) == [
        MarkUse("tc filter fw pref 3 of lan0", 7, ALL_BITS),
        MarkUse("tc filter fw pref 3 of lan0", BIT, BIT),
        MarkUse("tc filter u32 pref 3 of lan0", BIT, BIT),
    ]
    (elsewhere,) = read_tc_filters([filter_answer("fw", 7)], {})
    assert elsewhere.where == "tc filter fw pref 3 of 7"


def test_how_a_mark_is_written() -> None:
    assert str(MarkUse("x", BIT, ALL_BITS)) == "0x40000000"
    assert str(MarkUse("x", 0, BIT)) == "0x0/0x40000000"
