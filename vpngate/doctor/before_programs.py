# SPDX-License-Identifier: GPL-2.0-or-later
"""What keeps programs off interfaces, where the configuration asks for programs.

Knows whom to ask, and that a daemon which has programs there tells of its own; does not
know how much it weighs.
"""

from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import NamedTuple

from vpngate.config import Config, Plane
from vpngate.daemon.outside.client import request
from vpngate.doctor.conflicts import judge_in_the_way, judge_ipsec, judge_unasked
from vpngate.doctor.findings import Finding, Weight
from vpngate.doctor.holders import Holder
from vpngate.errors import KernelRefused, VpngateError
from vpngate.kernel.bpf import programs
from vpngate.kernel.bpf.in_the_way import REMEDY as MOVE
from vpngate.kernel.bpf.in_the_way import chains_before
from vpngate.kernel.bpf.marks import SIDES, table_of
from vpngate.kernel.bpf.syscall import AttachPoint
from vpngate.kernel.bpf.taken_off import Requirement, what_it_needs
from vpngate.kernel.neighbours import base_chains
from vpngate.kernel.programmed.unfit import header_of, objections
from vpngate.kernel.survey.ipsec_policies import policies_for_what_comes_in
from vpngate.kernel.wire import tc
from vpngate.kernel.wire.channel import NETFILTER, ROUTE, Channel

_STAY = 'choose gateway.plane = "nftables"'
_DETACH = f"detach them (`bpftool net` lists them), or {_STAY}"
_HEADER = Requirement("has a link header that programs do not know")
_POINTS = AttachPoint.TCX_INGRESS, AttachPoint.TCX_EGRESS


class _Looked(NamedTuple):
    """What interfaces need of packets, what else keeps programs off, who did not say.

    The first two by the interfaces' names.
    """

    needs: dict[str, Requirement]
    standing: dict[str, Requirement]
    unasked: set[str]


def judge_programs(
    config: Config, interfaces: Mapping[str, int], daemon: Holder | None, socket: str
) -> Iterator[Finding]:
    """Of the interfaces (indexes by name) those that would be left alone, and why.

    `socket` is where a daemon would answer, if `daemon` is one.
    """
    table = config.gateway.table
    try:
        if daemon is not None and _has_programs(socket, table):
            return
        looked = _look(interfaces, table)
        policies = policies_for_what_comes_in()
    except VpngateError as error:
        what = f"not looked at: {error.lines[0]}"
        yield Finding(Weight.UNKNOWN, "what comes before programs", what)
    else:
        yield from judge_in_the_way(looked.needs)
        yield from judge_in_the_way(looked.standing)
        yield from judge_unasked(looked.unasked)
        yield from judge_ipsec(policies)


def _has_programs(socket: str, table: str) -> bool:
    """Whether the daemon that runs is of the plane that the configuration asks for.

    Where it does not say, chains in its table tell that it is not. Raises VpngateError
    where nothing tells: its programs would be taken for somebody else's.
    """
    try:
        told = request(socket, "status")
    except VpngateError:
        with closing(Channel(NETFILTER)) as nftables:
            for chain in base_chains(nftables):
                if (chain.family, chain.table) == ("netdev", table):
                    return False
        raise
    return isinstance(told, dict) and told.get("plane") == Plane.EBPF.value


def _look(interfaces: Mapping[str, int], table: str) -> _Looked:
    """Ask of each what the plane would; raises VpngateError where nobody can be."""
    needs: dict[str, Requirement] = {}
    unasked = set[str]()
    with closing(Channel(NETFILTER)) as nftables, closing(Channel(ROUTE)) as route:
        for name, index in interfaces.items():
            try:
                if need := what_it_needs(route, nftables, index):
                    needs[name] = need
            except KernelRefused:
                unasked.add(name)
        others = [name for name in interfaces if name not in unasked | needs.keys()]
        looked = objections(interfaces, others, table=table, ours=())
        chained = chains_before(nftables, looked.objections, table=table)
        standing = {
            name: Requirement(
                why,
                MOVE if name in chained else _remedy(route, interfaces[name], table),
            )
            for name, why in looked.objections.items()
        }
    unasked |= looked.unasked
    for name in interfaces:
        if name not in unasked | needs.keys() | standing.keys():
            try:
                if header_of(name) is None:
                    standing[name] = _HEADER
            except KernelRefused:
                unasked.add(name)
    return _Looked(needs, standing, unasked - standing.keys())


def _remedy(route: Channel, index: int, ours: str) -> str:
    """What to do about filters and programs at an interface, of all kinds there are.

    Filters of the table `ours` are in nobody's way.
    """
    try:
        filters = [
            one for at in SIDES.values() for one in tc.filters_at(route, index, at)
        ]
        linked = any(programs.attached(index, point) for point in _POINTS)
    except VpngateError:  # it has gone, or more stand there than are listed
        return MOVE
    tables = {
        table_of(one) if isinstance(one, tc.Classifier) else None for one in filters
    }
    remedies = [MOVE] if None in tables else []
    remedies += [_clear(one) for one in sorted(filter(None, tables)) if one != ours]
    remedies += [_DETACH] if linked else []
    return "; ".join(remedies) or MOVE


def _clear(table: str) -> str:
    such = f'a configuration with gateway.table = "{table}"'
    return f"vpngate clear with {such}, or other interfaces for the one that runs"
