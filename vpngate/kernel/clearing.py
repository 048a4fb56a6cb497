# SPDX-License-Identifier: GPL-2.0-or-later
"""All that a daemon which was killed may have left in the kernel, taken away.

Knows which parts there are, and that nothing is touched while somebody owns the table;
does not know who asks. A daemon's start takes away devices by the same code.
"""

import errno
from collections.abc import Collection
from contextlib import ExitStack, closing
from typing import NamedTuple

from vpngate.errors import KernelRefused, Problem, TableTaken
from vpngate.kernel.bpf.far_ends import FarEnds
from vpngate.kernel.programmed.attachments.by_filters import ByFilters
from vpngate.kernel.shaping.devices.ifb_devices import IfbDevices
from vpngate.kernel.shaping.devices.left_behind import remove_left_behind
from vpngate.kernel.shaping.devices.shaping_devices import ShapingDevices
from vpngate.kernel.shaping.devices.veth_devices import VethDevices
from vpngate.kernel.shaping.route import Route
from vpngate.kernel.table.owned import OwnedTable
from vpngate.kernel.wire import messages
from vpngate.kernel.wire.channel import NETFILTER, ROUTE, Channel
from vpngate.kernel.wire.failures import Rejected
from vpngate.kernel.wire.links import links_at
from vpngate.packets import Direction, Family, Transport
from vpngate.ruleset import names

# What a table of ours has had since there is one.
_MARKS = frozenset(
    {
        names.ARMED,
        names.verdict_map(Direction.UPLOAD, Family.IPV4, Transport.UDP),
    }
)


class Cleared(NamedTuple):
    """What is gone now, in words, and what has a name of ours and is left alone."""

    removed: tuple[str, ...]
    foreign: tuple[Problem, ...]


def clear(table: str) -> Cleared:
    """Remove what a dead daemon left of the table, its devices and its filters.

    Blocking. TableTaken if a process owns the table: then nothing is touched. While
    this goes on the table is ours, so that no daemon that starts meanwhile has some
    already. Raises MachineFault for what the kernel does not let us do.
    """
    with ExitStack() as stack:
        # The table goes when its channel closes, also where something is in the way.
        owner = stack.enter_context(closing(Channel(NETFILTER)))
        channel = stack.enter_context(closing(Channel(ROUTE)))
        of_table = _take(OwnedTable(owner, table))
        route = stack.enter_context(closing(Route()))
        removed, foreign = remove_every_kind(table, route, channel)
        return Cleared(
            (*of_table.removed, *removed),
            (*of_table.foreign, *foreign),
        )


def remove_every_kind(
    table: str, route: Route, channel: Channel, kept: Collection[int] = ()
) -> tuple[list[str], list[Problem]]:
    """Delete all devices that a dead daemon has left of a table, and its filters.

    What is gone, and what has such a name and is not ours. Filters at the interfaces of
    those indexes are `kept`, for who takes them over.
    """
    kinds: tuple[ShapingDevices, ...] = (
        IfbDevices(table, route, channel),
        VethDevices(table, route, channel, FarEnds(channel)),
    )
    removed: list[str] = []
    foreign: list[Problem] = []
    for devices in kinds:
        names, others = remove_left_behind(devices, channel)
        removed += [f"interface {name}" for name in names]
        foreign += others
    filters, faults = _remove_filters(ByFilters(channel, table), channel, kept)
    return removed + filters, foreign + faults


def _remove_filters(
    filters: ByFilters, channel: Channel, kept: Collection[int]
) -> tuple[list[str], list[Problem]]:
    """Those at all interfaces but the kept, and the clsact that came with them.

    They do nothing, so that one which cannot be removed holds nobody up.
    """
    found = [index for index in filters.left_behind() if index not in kept]
    removed, faults = [], []
    for index, link in zip(found, links_at(channel, found), strict=True):
        if link is None:
            continue
        where = f"filters of interface {link.name}"
        try:
            filters.vacate(index)
        except KernelRefused as error:
            faults.append(Problem(where, f"cannot be removed: {error.lines[0]}"))
        else:
            removed.append(where)
    return removed, faults


def _take(table: OwnedTable) -> Cleared:
    """Take the table, empty; one that is nobody's and not ours stays as it is."""
    where = f"nftables table netdev {table.name}"
    try:
        table.introduce([messages.new_table(table.name)])
    except TableTaken:
        what = "a process owns it, most likely a vpngate that runs: nothing is removed"
        remedy = "stop that one, which leaves nothing behind"
        raise TableTaken(Problem(where, what, remedy)) from None
    except Rejected as error:
        if error.number != errno.EEXIST:
            raise
        if not _MARKS.issubset(table.sets()):
            what = "belongs to nobody, and has not the sets that ours has"
            remedy = "see `nft list table`; a start of vpngate would replace it"
            return Cleared((), (Problem(where, what, remedy),))
        table.introduce(
            [messages.delete_table(table.name), messages.new_table(table.name)]
        )
        return Cleared((where,), ())
    return Cleared((), ())
