# SPDX-License-Identifier: GPL-2.0-or-later
"""What is said of what others have put into the kernel."""

from dataclasses import replace

import pytest

from tests.unit.doctor.settings import config
from vpngate.config import examine_config
from vpngate.doctor.conflicts import (
    Neighbours,
    judge_in_the_way,
    judge_ipsec,
    judge_neighbours,
    judge_unasked,
)
from vpngate.doctor.findings import Finding, Weight
from vpngate.doctor.holders import NOBODY_KNOWN, Holder
from vpngate.kernel.bpf.taken_off import Requirement
from vpngate.kernel.neighbours import BaseChain, Filter, Flowtable, ListedTable
from vpngate.kernel.shaping.devices.naming import ADDRESS
from vpngate.kernel.wire.links import Link
from vpngate.kernel.wire.tc import Queue
from vpngate.packets import HookPoint

CONFIG = config()
LAN0 = Link(2, "lan0", up=True, hardware=1)
ALONE = Neighbours(matched=(LAN0,), names={2: "lan0", 3: "wan0"})
DAEMON, OTHER = Holder(100, "vpngate"), Holder(200, "ulogd")
OURS = ListedTable("netdev", "vpngate", 1)
IFB = Link(9, "ifb-vpngate", up=True, hardware=1, kind="ifb")


def judged(beside: Neighbours) -> list[Finding]:
    return list(judge_neighbours(CONFIG, beside))


def weighed(beside: Neighbours) -> list[Weight]:
    return [finding.weight for finding in judged(beside)]


def test_what_keeps_programs_off_an_interface() -> None:
    one = Requirement("has the chain netdev own c at ingress", "move it")
    (finding,) = judge_in_the_way({"lan0": one})
    assert (finding.weight, finding.where) == (Weight.CONFLICT, "interface lan0")
    assert (finding.what, finding.remedy) == (one.why, one.remedy)
    assert "left alone" in finding.cost
    assert list(judge_in_the_way({})) == []


@pytest.mark.parametrize(("count", "words"), [(1, "1 policy"), (3, "3 policies")])
def test_tunnels_of_ipsec_that_end_here(count: int, words: str) -> None:
    (finding,) = judge_ipsec(count)
    assert finding.weight is Weight.COST
    assert f"has {words} for what comes in" in finding.what
    assert list(judge_ipsec(0)) == []


def test_programs_are_told_of_their_own_neighbours() -> None:
    """Not of what is in the way of nftables: an NFLOG group, chains that come later."""
    text = '[gateway]\ninterfaces = ["lan0"]\nplane = "ebpf"'
    programs = examine_config(text, where="x", known_tunnels=["wireguard"]).config
    assert programs is not None
    far = Link(9, "vgr-vpngate", up=True, hardware=1, kind="veth")
    late = BaseChain("netdev", "own", "c", HookPoint.EGRESS, 900, ("lan0",))
    beside = replace(ALONE, device=far, group_reader=OTHER, chains=(late,))
    (finding,) = judge_neighbours(programs, beside)
    assert (finding.weight, finding.where) == (Weight.CONFLICT, "interface vgr-vpngate")
    assert len(judged(beside)) == 3


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
    tables = (ListedTable("inet", "vpngate", 0), OURS)
    finding, *_ = judged(
        replace(ALONE, tables=tables, table_owner=owner, daemon=daemon)
    )
    assert (finding.weight is Weight.CONFLICT) is bool(words)
    if words:
        assert finding.where == "nftables table netdev vpngate"
        assert words in finding.what
        assert ("does not start" in finding.cost) is (owner is not None)


def test_tables_of_other_names_or_families() -> None:
    tables = (ListedTable("inet", "vpngate", 0), ListedTable("netdev", "other", 0))
    assert weighed(replace(ALONE, tables=tables)) == [Weight.SOUND]


@pytest.mark.parametrize(
    ("ifb", "root", "daemon", "weight"),
    [
        (IFB, None, DAEMON, Weight.SOUND),
        (IFB, None, None, Weight.CONFLICT),
        (IFB, Queue(9, "htb", 0x76670000, 0xFFFFFFFF), None, Weight.COST),
        (IFB, Queue(9, "pfifo_fast", 0, 0xFFFFFFFF), None, Weight.CONFLICT),
        (replace(IFB, kind="veth"), None, None, Weight.CONFLICT),
        (replace(IFB, address=ADDRESS), None, None, Weight.COST),
    ],
)
def test_an_ifb_of_our_name(
    ifb: Link, root: Queue | None, daemon: Holder | None, weight: Weight
) -> None:
    beside = replace(ALONE, device=ifb, root=root, daemon=daemon)
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
        (chain(HookPoint.EGRESS, 501, "lan0"), Weight.CONFLICT),
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
    ("side", "one", "words"),
    [
        (HookPoint.EGRESS, Filter(2, 0, 1, "u32", 0x80000800, ("gact",)), "left alone"),
        (HookPoint.EGRESS, Filter(2, 0, 1, "novel", 1), "left alone"),
        (HookPoint.EGRESS, Filter(2, 0, 1, "u32", 0x80000800), ""),
        (HookPoint.EGRESS, Filter(2, 0, 1, "bpf", 1), ""),
        (HookPoint.INGRESS, Filter(2, 0, 1, "bpf", 1), "seen by vpngate"),
        (HookPoint.INGRESS, Filter(2, 0, 1, "u32", 1, ("mirred",)), "seen by vpngate"),
        (HookPoint.INGRESS, Filter(2, 0, 1, "u32", 1), ""),
    ],
)
def test_filters(side: HookPoint, one: Filter, words: str) -> None:
    (finding,) = judged(replace(ALONE, filters=((side, one), (side, one))))
    weight = Weight.CONFLICT if side is HookPoint.EGRESS else Weight.COST
    assert finding.weight is (weight if words else Weight.SOUND)
    assert words in finding.cost
    if words:
        assert f"pref 1 at {side.name.lower()} of lan0" in finding.where


@pytest.mark.parametrize(
    ("named", "there", "weight"),
    [
        ("vpngate:vpngate", False, Weight.COST),
        ("vpngate:vpngate+clsact", False, Weight.COST),
        ("vpngate:vpngate", True, Weight.SOUND),
        ("vpngate:other", True, Weight.COST),  # another's, or left by it
    ],
)
def test_filters_of_our_own(named: str, weight: Weight, *, there: bool) -> None:
    one = Filter(2, 0, 65500, "bpf", 0x7667, (), named)
    beside = replace(ALONE, filters=((HookPoint.INGRESS, one),))
    daemon = DAEMON if there else None
    (finding,) = judged(replace(beside, daemon=daemon))
    assert finding.weight is weight
    assert ("left behind" in finding.what) is (weight is Weight.COST and not there)


@pytest.mark.parametrize("daemon", [DAEMON, None])
def test_filters_of_a_table_that_is_not_ours_any_more(daemon: Holder | None) -> None:
    """As after a change of gateway.table and a daemon that was killed."""
    one = Filter(2, 0, 65500, "bpf", 0x7667, (), "vpngate:other+clsact")
    beside = replace(ALONE, filters=((HookPoint.INGRESS, one),), daemon=daemon)
    (finding,) = judged(beside)
    assert finding.weight is Weight.COST
    assert finding.where == "tc filters vpngate:other of lan0"
    assert 'gateway.table = "other"' in finding.what
    assert "vpngate clear" in finding.remedy


def test_what_could_not_be_asked() -> None:
    assert list(judge_unasked(())) == []
    (finding,) = judge_unasked({"lan1", "lan0"})
    assert finding.weight is Weight.UNKNOWN
    assert finding.where == "interfaces lan0, lan1"


def test_flowtables_by_plane() -> None:
    """Programs meet what a flowtable forwards, chains do not."""
    table = Flowtable("inet", "own", "fast", 0, ("lan0",))
    beside = replace(ALONE, flowtables=(table,))
    text = '[gateway]\ninterfaces = ["lan0"]\nplane = "ebpf"'
    programs = examine_config(text, where="x", known_tunnels=["wireguard"]).config
    assert programs is not None
    (rules,) = judge_neighbours(CONFIG, beside)
    (finding,) = judge_neighbours(programs, beside)
    assert rules.weight is finding.weight is Weight.COST
    assert "pass vpngate by" in rules.cost
    assert "past an attached VLAN" in finding.cost


def test_filters_that_may_be_skipped_cost_something() -> None:
    accepting = config(gateway='interfaces = ["lan0"]\naccept_skipped_filters = true')
    one = (HookPoint.EGRESS, Filter(2, 0, 1, "u32", 0x80000800, ("gact",)))
    (finding,) = judge_neighbours(accepting, replace(ALONE, filters=(one,)))
    assert finding.weight is Weight.COST
    assert "pass it by" in finding.cost


def test_filters_are_accepted_beside_chains_alone() -> None:
    """No program stands where one does: nobody is told that they would."""
    accepting = config(
        gateway='interfaces = ["lan0"]\naccept_skipped_filters = true\nplane = "ebpf"'
    )
    one = (HookPoint.EGRESS, Filter(2, 0, 1, "u32", 0x80000800, ("gact",)))
    (finding,) = judge_neighbours(accepting, replace(ALONE, filters=(one,)))
    assert finding.weight is Weight.CONFLICT
    assert "left alone" in finding.cost
    assert "accept_skipped_filters" not in finding.remedy
