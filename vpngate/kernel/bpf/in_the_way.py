# SPDX-License-Identifier: GPL-2.0-or-later
"""What of others' keeps a program off an interface: it would come before them.

Knows the order of hooks: TCX, the filters of clsact, then chains of family netdev on
the way in; does not know what becomes of an interface where something stands. On the
way out chains come first, and what comes back from a pair does not meet them again.
"""

import errno
from collections.abc import Collection, Iterable

from vpngate.errors import MissingFeature
from vpngate.kernel.bpf import programs
from vpngate.kernel.bpf.marks import SIDES, table_of
from vpngate.kernel.bpf.syscall import AttachPoint, BpfRefused
from vpngate.kernel.neighbours import BaseChain, base_chains
from vpngate.kernel.wire import tc
from vpngate.kernel.wire.channel import Channel
from vpngate.packets import HookPoint

REMEDY = (
    "move what it does into the chains prerouting, forward or postrouting, or choose"
    ' gateway.plane = "nftables"'
)
_NETDEV = "netdev"
_NOBODYS = 0  # no program has this number
_POINTS = {
    HookPoint.INGRESS: AttachPoint.TCX_INGRESS,
    HookPoint.EGRESS: AttachPoint.TCX_EGRESS,
}


def chains_before(
    nftables: Channel, interfaces: Iterable[str], *, table: str
) -> dict[str, str]:
    """Those of the interfaces that have a chain of somebody's at ingress, and which."""
    chains = [
        chain
        for chain in base_chains(nftables)
        if chain.point is HookPoint.INGRESS
        and (chain.family, chain.table) != (_NETDEV, table)
    ]
    if not chains:
        return {}
    told = ((name, _chain_at(name, chains)) for name in interfaces)
    return {name: why for name, why in told if why}


def _chain_at(name: str, chains: Collection[BaseChain]) -> str:
    for chain in chains:
        prefixes = tuple(one[:-1] for one in chain.devices if one.endswith("*"))
        if name in chain.devices or name.startswith(prefixes):
            which = f"{chain.family} {chain.table} {chain.name}"
            return f"has the chain {which} at ingress, which a program comes before"
    return ""


def program_at(route: Channel, index: int, ours: Collection[int], table: str) -> str:
    """What of others' stands at an interface beside nftables; empty if nothing.

    `ours` are the numbers of programs that we have put there by links; filters of ours
    have our table's mark. Raises KernelRefused if it has gone, or cannot be asked now.
    """
    for hook, point in _POINTS.items():
        where = hook.name.lower()
        for one in tc.filters_at(route, index, SIDES[hook]):
            mark = table_of(one) if isinstance(one, tc.Classifier) else None
            if mark is None:
                return f"has tc filters that are not vpngate's at {where}"
            if mark != table:
                of = f'a vpngate with gateway.table = "{mark}"'
                return f"has tc filters of {of} at {where} (see `vpngate clear`)"
        if any(number not in ours for number in _by_tcx(index, point)):
            return f"has programs that are not vpngate's at {where} (TCX)"
    return ""


def _by_tcx(index: int, point: AttachPoint) -> list[int]:
    """None on a kernel that has no such hooks (before 6.6)."""
    try:
        return programs.attached(index, point)
    except MissingFeature:  # nor programs at all
        return []
    except BpfRefused as error:
        if error.number == errno.EINVAL:
            return []
        if error.number == errno.ENOSPC:  # more stand there than are asked for
            return [_NOBODYS]
        raise  # it has gone, or there is no room for an answer
