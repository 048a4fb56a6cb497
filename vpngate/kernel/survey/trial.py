# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether this kernel does what vpngate asks of it, found out by asking.

Knows single features, each asked for by itself (the whole data plane: `passage.py`);
does not know what it means that one is missing. Everything here is called inside a
namespace of our own (`namespace.py`), and leaves what it has made to that namespace's
end.
"""

import sys
from collections.abc import Callable, Collection, Mapping
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from vpngate.errors import VpngateError
from vpngate.expressions import (
    Compare,
    DynamicSet,
    Forward,
    Immediate,
    Limit,
    LogPacket,
    ReversePathCheck,
    SetOperation,
)
from vpngate.kernel.shaping.queueing import class_options, largest_packet
from vpngate.kernel.survey import bpf_trial
from vpngate.kernel.survey.namespace import NEAR, Wire
from vpngate.kernel.wire import messages, tc
from vpngate.kernel.wire.attributes import CREATE
from vpngate.kernel.wire.channel import NETFILTER, ROUTE, Change, Channel
from vpngate.kernel.wire.failures import Rejected
from vpngate.packets import HookPoint
from vpngate.ruleset.table import Chain, DataType, Hook, Line, Nature, Set
from vpngate.ruleset.table import Table as NftTable

_HANDLE = 0x7667_0000
_GROUP = 5170


class Feature(StrEnum):
    """What can be there or not, one by one."""

    NFTABLES = "nftables, family netdev"
    OWNER = "nftables: a table with an owner"
    INGRESS = "nftables: hook ingress"
    EGRESS = "nftables: hook egress"
    FORWARD = "nftables: fwd at ingress"
    FORWARD_OUT = "nftables: fwd at egress"
    COPY = "nftables: log to a group"
    REVERSE_PATH = "nftables: fib at ingress"
    INTERVALS = "nftables: sets of intervals"
    TIMEOUTS = "nftables: elements with timeouts"
    DYNAMIC = "nftables: sets that rules refresh"
    IFB = "ifb"
    HTB = "HTB"
    TBF = "TBF"
    FQ_CODEL = "fq_codel"
    PROGRAMS = "eBPF: programs"
    CLSACT = "eBPF: programs by clsact, met by packets"
    TCX = "eBPF: programs by TCX, met by packets"
    PAIR = "eBPF: a veth pair, packets sent through it"


OF_PROGRAMS = frozenset({Feature.PROGRAMS, Feature.CLSACT, Feature.TCX, Feature.PAIR})
# What programs do in the place of rules; a table tells others that its name is in use.
BESIDE_PROGRAMS = frozenset(
    f for f in Feature if f.startswith(("nftables: ", "ifb")) and f is not Feature.OWNER
)


@dataclass(frozen=True, slots=True)
class Attempt:
    """A feature, and the kernel's objection: empty if it has none."""

    feature: Feature
    objection: str


def attempt(wire: Wire, without: Collection[Feature] = ()) -> list[Attempt]:
    """Try every feature by itself, except those in `without`."""
    wanted = [feature for feature in Feature if feature not in without]
    return [Attempt(feature, _objection(feature, wire)) for feature in wanted]


def _objection(feature: Feature, wire: Wire) -> str:
    try:
        if feature in _OTHERS:
            _OTHERS[feature](wire)
        else:
            _install(_table(feature, wire), owned=feature is Feature.OWNER)
    except Rejected as error:
        return str(error.failures[0])
    except NetlinkError as error:
        return str(error.args[-1])
    except VpngateError as error:
        return error.lines[0]
    return ""


def _table(feature: Feature, wire: Wire) -> NftTable:
    """The smallest table that needs the feature."""
    forward = (Immediate(wire.far.to_bytes(4, sys.byteorder)), Forward())
    rules = {
        Feature.FORWARD: forward,
        Feature.FORWARD_OUT: forward,
        Feature.COPY: (LogPacket(_GROUP),),
        Feature.REVERSE_PATH: (ReversePathCheck(), Compare(bytes(1))),
        Feature.DYNAMIC: (
            Immediate(bytes(4)),
            DynamicSet("s", SetOperation.UPDATE, expressions=(Limit(1, 1),)),
        ),
    }
    natures = {
        Feature.INTERVALS: Nature.INTERVALS,
        Feature.TIMEOUTS: Nature.EXPIRING,
        Feature.DYNAMIC: Nature.DYNAMIC,
    }
    sets = [
        Set("s", (DataType.IPV4_ADDR,), natures[feature], "trial", timeout=timeout)
        for timeout in [0 if feature is Feature.INTERVALS else 60]
        if feature in natures
    ]
    hooked = feature in rules or feature in (Feature.INGRESS, Feature.EGRESS)
    outward = feature in (Feature.EGRESS, Feature.FORWARD_OUT)
    point = HookPoint.EGRESS if outward else HookPoint.INGRESS
    lines = (Line(rules[feature], "trial"),) if feature in rules else ()
    chains = (Chain("c", lines, Hook(point, 0, (NEAR,))),) if hooked else ()
    return NftTable("vg-trial", tuple(sets), (), chains)


def _install(table: NftTable, *, owned: bool) -> None:
    """Make the table and take it away again."""
    with closing(Channel(NETFILTER)) as channel:
        new = messages.new_table(table.name, owned=owned)
        sets = [messages.new_set(table.name, one) for one in table.sets]
        channel.commit([new, *sets, *messages.new_chains(table.name, table.chains)])
        channel.commit([messages.delete_table(table.name)])


def _ifb(_wire: Wire) -> None:
    with IPRoute() as route:
        route.link("add", ifname="vg-ifb", kind="ifb")


def _queue(kind: str) -> Callable[[Wire], None]:
    def put_up(wire: Wire) -> None:
        with IPRoute() as route:
            options = {"default": 0} if kind == "htb" else {}
            route.tc("add", kind, wire.near, _HANDLE, parent=tc.ROOT, **options)
            route.tc("del", kind, wire.near, _HANDLE, parent=tc.ROOT)

    return put_up


def _leaf(wire: Wire) -> None:
    """The queue of a class, as the daemon makes it."""
    body = class_options(1_000_000, largest_packet(0)).leaf
    place = tc.Place(wire.near, _HANDLE, tc.ROOT)
    with closing(Channel(ROUTE)) as channel:
        for kind, flags in ((tc.NEW_QDISC, CREATE), (tc.DELETE_QDISC, 0)):
            change = Change(
                tc.packed(kind, flags, place, body if flags else b""), "TBF"
            )
            if failures := channel.each([change]):
                raise Rejected(failures)


_OTHERS: Mapping[Feature, Callable[[Wire], None]] = {
    Feature.IFB: _ifb,
    Feature.HTB: _queue("htb"),
    Feature.TBF: _leaf,
    Feature.FQ_CODEL: _queue("fq_codel"),
    Feature.PROGRAMS: bpf_trial.run_program,
    Feature.CLSACT: bpf_trial.by_clsact,
    Feature.TCX: bpf_trial.by_tcx,
    Feature.PAIR: bpf_trial.through_pair,
}
