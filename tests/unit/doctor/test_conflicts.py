# SPDX-License-Identifier: GPL-2.0-or-later
"""What is said of what others have put into the kernel."""

from dataclasses import replace

import pytest

from tests.unit.doctor.settings import config
from vpngate.doctor.conflicts import Neighbours, judge_neighbours
from vpngate.doctor.findings import Finding, Weight
from vpngate.doctor.holders import NOBODY_KNOWN, Holder
from vpngate.kernel.survey.marks import ALL_BITS, MarkUse
from vpngate.kernel.survey.neighbours import BaseChain, Filter, Flowtable, Table
from vpngate.kernel.wire.links import Link
from vpngate.kernel.wire.tc import Queue
from vpngate.packets import HookPoint

CONFIG = config()
LAN0 = Link(2, "lan0", up=True, hardware=1)
ALONE = Neighbours(matched=(LAN0,), names={2: "lan0", 3: "wan0"})
DAEMON, OTHER = Holder(100, "vpngate"), Holder(200, "ulogd")
OURS = Table("netdev", "vpngate", 1)
IFB = Link(9, "ifb-vpngate", up=True, hardware=1, kind="ifb")
BIT = CONFIG.gateway.mark


def judged(beside: Neighbours) -> list[Finding]:
    return list(judge_neighbours(CONFIG, beside))


def weighed(beside: Neighbours) -> list[Weight]:
    return [finding.weight for finding in judged(beside)]


def test_nobody_else() -> None:
    assert weighed(ALONE) == [Weight.SOUND]


@pytest.mark.parametrize(
    ("owner", "daemon", "words"),
    [
        (None, None, "is not vpngate's"),
        (OTHER, None, "belongs to ulogd (200)"),
        (NOBODY_KNOWN, None, "cannot be seen from here"),
        (OTHER, DAEMON, "belongs to ulogd (200)"),
        (DAEMON, DAEMON, ""),
        (NOBODY_KNOWN, DAEMON, ""),  # in doubt it is the daemon's
        (NOBODY_KNOWN, NOBODY_KNOWN, ""),
    ],
)
def test_a_table_of_our_name(
    owner: Holder | None, daemon: Holder | None, words: str
) -> None:
    tables = (Table("inet", "vpngate", 0), OURS)
    finding, *_ = judged(
        replace(ALONE, tables=tables, table_owner=owner, daemon=daemon)
    )
    assert (finding.weight is Weight.CONFLICT) is bool(words)
    if words:
        assert finding.where == "nftables table netdev vpngate"
        assert words in finding.what


def test_tables_of_other_names_or_families() -> None:
    tables = (Table("inet", "vpngate", 0), Table("netdev", "other", 0))
    assert weighed(replace(ALONE, tables=tables)) == [Weight.SOUND]


@pytest.mark.parametrize(
    ("ifb", "queues", "daemon", "weight"),
    [
        (IFB, (), DAEMON, Weight.SOUND),
        (IFB, (Queue(9, "htb", 0x76670000, 0xFFFFFFFF),), None, Weight.COST),
        (IFB, (Queue(9, "htb", 0x10000, 0x76670002),), None, Weight.CONFLICT),
        (IFB, (Queue(9, "pfifo_fast", 0, 0xFFFFFFFF),), None, Weight.CONFLICT),
        (IFB, (Queue(8, "htb", 0x76670000, 0xFFFFFFFF),), None, Weight.CONFLICT),
        (replace(IFB, kind="veth"), (), None, Weight.CONFLICT),
    ],
)
def test_an_ifb_of_our_name(
    ifb: Link, queues: tuple[Queue, ...], daemon: Holder | None, weight: Weight
) -> None:
    beside = replace(ALONE, ifb=ifb, queues=queues, daemon=daemon)
    assert weighed(beside) == [weight]


@pytest.mark.parametrize(
    ("reader", "daemon", "weight"),
    [
        (None, None, Weight.SOUND),
        (OTHER, None, Weight.CONFLICT),
        (OTHER, DAEMON, Weight.CONFLICT),
        (DAEMON, DAEMON, Weight.SOUND),
        (NOBODY_KNOWN, None, Weight.CONFLICT),
    ],
)
def test_the_nflog_group(
    reader: Holder | None, daemon: Holder | None, weight: Weight
) -> None:
    assert weighed(replace(ALONE, group_reader=reader, daemon=daemon)) == [weight]


def chain(
    point: HookPoint, priority: int, *devices: str, table: str = "own"
) -> BaseChain:
    return BaseChain("netdev", table, "late", point, priority, devices)


@pytest.mark.parametrize(
    ("one", "weight"),
    [
        (chain(HookPoint.INGRESS, 499, "lan0"), Weight.SOUND),
        (chain(HookPoint.INGRESS, 500, "lan0"), Weight.CONFLICT),
        (chain(HookPoint.INGRESS, 501, "wan0", "lan0"), Weight.CONFLICT),
        (chain(HookPoint.INGRESS, 501, "lan*"), Weight.CONFLICT),
        (chain(HookPoint.INGRESS, 501, "lan*", table="vpngate"), Weight.SOUND),
        (chain(HookPoint.INGRESS, 501, "wan0"), Weight.SOUND),
        (chain(HookPoint.INGRESS, 501, "wan*"), Weight.SOUND),
        (chain(HookPoint.EGRESS, 501, "lan0"), Weight.COST),
        (chain(HookPoint.EGRESS, 0, "lan0"), Weight.SOUND),
        (chain(HookPoint.EGRESS, 0, "wan0"), Weight.COST),
        (chain(HookPoint.EGRESS, 0), Weight.SOUND),
    ],
)
def test_other_chains(one: BaseChain, weight: Weight) -> None:
    (finding,) = judged(replace(ALONE, chains=(one,)))
    assert finding.weight is weight
    if weight is not Weight.SOUND:
        assert finding.where == "nftables chain netdev own late"
        assert f"priority {one.priority}" in finding.what


def test_a_chain_of_family_inet_with_our_tables_name_is_anothers() -> None:
    one = BaseChain("inet", "vpngate", "x", HookPoint.INGRESS, 900, ("lan0",))
    assert weighed(replace(ALONE, chains=(one,))) == [Weight.CONFLICT]


@pytest.mark.parametrize(
    ("devices", "weight"),
    [(("wan0", "lan0"), Weight.COST), (("wan0",), Weight.SOUND)],
)
def test_flowtables(devices: tuple[str, ...], weight: Weight) -> None:
    table = Flowtable("inet", "own", "fast", 0, devices)
    assert weighed(replace(ALONE, flowtables=(table,))) == [weight]


@pytest.mark.parametrize(
    ("queue", "weight"),
    [
        (Queue(2, "ingress", 0xFFFF0000, 0xFFFFFFF1), Weight.CONFLICT),
        (Queue(2, "clsact", 0xFFFF0000, 0xFFFFFFF1), Weight.SOUND),
        (Queue(3, "ingress", 0xFFFF0000, 0xFFFFFFF1), Weight.SOUND),
        (Queue(2, "htb", 0x10000, 0xFFFFFFFF), Weight.SOUND),
    ],
)
def test_queueing_disciplines(queue: Queue, weight: Weight) -> None:
    assert weighed(replace(ALONE, queues=(queue,))) == [weight]


@pytest.mark.parametrize(
    ("side", "one", "words"),
    [
        (HookPoint.EGRESS, Filter(2, 0, 0xFFFF, "bpf", 0x76670001, ("mirred",)), ""),
        (HookPoint.EGRESS, Filter(2, 0, 0xFFFF, "bpf", 0x76670002, ("mirred",)), ""),
        (HookPoint.EGRESS, Filter(2, 0, 1, "u32", 0x80000000), ""),
        (HookPoint.EGRESS, Filter(2, 0, 1, "u32", 0x80000800, ("gact",)), "slowed"),
        (HookPoint.EGRESS, Filter(2, 0, 1, "bpf", 1), "slowed"),
        (HookPoint.INGRESS, Filter(2, 0, 1, "u32", 1, ("mirred",)), "seen by vpngate"),
    ],
)
def test_filters_before_ours(side: HookPoint, one: Filter, words: str) -> None:
    (finding,) = judged(replace(ALONE, filters=((side, one), (side, one))))
    assert finding.weight is (Weight.COST if words else Weight.SOUND)
    assert words in finding.cost
    if words:
        assert f"pref 1 at {side.name.lower()} of lan0" in finding.where


@pytest.mark.parametrize(
    ("use", "weight"),
    [
        (MarkUse("ip rule 1", BIT, ALL_BITS), Weight.CONFLICT),
        (MarkUse("ip rule 1", 0, BIT), Weight.CONFLICT),
        (MarkUse("ip rule 1", 0x7, ALL_BITS), Weight.SOUND),
        (MarkUse("ip rule 1", 0x7, 0xFF), Weight.SOUND),
        (MarkUse("nft netdev vpngate egress handle 1", BIT, BIT), Weight.SOUND),
        (MarkUse("nft netdev vpngate2 egress handle 1", BIT, BIT), Weight.CONFLICT),
    ],
)
def test_marks(use: MarkUse, weight: Weight) -> None:
    (finding,) = judged(replace(ALONE, marks=(use,)))
    assert finding.weight is weight
    if weight is Weight.CONFLICT:
        assert finding.where == use.where


def test_rules_that_use_the_same_mark_are_one_line() -> None:
    marks = tuple(MarkUse(f"rule {n}", BIT, BIT) for n in range(6))
    (finding,) = judged(replace(ALONE, marks=marks))
    assert finding.where == "rule 0, rule 1, rule 2, rule 3 and 2 more"


def test_the_remedy_names_a_bit_that_is_free() -> None:
    marks = (
        MarkUse("a", 0, 0xF0000000),
        MarkUse("b", 0x08000000, ALL_BITS),
        MarkUse("c", 0x1, ALL_BITS),
    )
    (finding,) = judged(replace(ALONE, marks=marks))
    assert 'gateway.mark = "0x4000000"' in finding.remedy
    everything = (MarkUse("a", BIT, 0xFFFFFFF0), MarkUse("b", 0xF, ALL_BITS))
    (finding,) = judged(replace(ALONE, marks=everything))
    assert finding.remedy == "free a bit for vpngate"


def test_rules_that_cannot_be_read() -> None:
    (finding,) = judged(replace(ALONE, legacy=("mangle", "ipv6 filter")))
    assert finding.weight is Weight.UNKNOWN
    assert finding.where == "iptables-legacy mangle, ipv6 filter"
