# SPDX-License-Identifier: GPL-2.0-or-later
"""What devices are called, the numbers of their classes, and what tells which are ours.

Knows how names and numbers stay clear of everybody else's; does not make anything.
"""

from hashlib import blake2b

from vpngate.kernel.shaping.places import IFBS
from vpngate.kernel.wire import tc
from vpngate.kernel.wire.channel import Channel
from vpngate.kernel.wire.links import Link
from vpngate.plaintext import plain

_TABLE_LENGTH = 8  # of IFNAMSIZ: what its first four and last three characters leave
_MAJORS = range(0x7667, 0x8000)  # of the roots of all our ifbs: "vg"
# Of the link of every device of ours: locally administered (IEEE 802), "vpnga". Nothing
# is ever addressed to it; it is there with the device, and tells whose that is.
ADDRESS, FAR_ADDRESS = b"\x02vpnga", b"\x02vpngb"
REMEDY = "rename it, or choose another gateway.table"


def ifb_name(table: str, number: int = 0) -> str:
    """The name of a table's ifb; no two tables have one in common."""
    return _named("ifb", table, number)


def ifb_names(table: str) -> tuple[str, ...]:
    """The names of all ifbs that a table may have."""
    return tuple(ifb_name(table, number) for number in range(IFBS))


def near_names(table: str) -> tuple[str, ...]:
    """The names of the ends of veth pairs that shape, of all that there may be."""
    return tuple(_named("vgs", table, number) for number in range(IFBS))


def far_names(table: str) -> tuple[str, ...]:
    """The names of the ends that return what comes through the pair."""
    return tuple(_named("vgr", table, number) for number in range(IFBS))


def shapes(link: Link) -> bool:
    """Whether a device is where packets wait, or come back from there; anybody's ifb.

    Of pairs those of this and any other vpngate.
    """
    ours = link.kind == "veth" and link.address in (ADDRESS, FAR_ADDRESS)
    return ours or link.kind == "ifb"


def _named(kind: str, table: str, number: int) -> str:
    """The table's own name stands in it where it leaves room for the number.

    In a table's name there is no full stop.
    """
    if len(table) <= _TABLE_LENGTH:
        name = f"{kind}-{table}"
    else:
        name = f"{kind}." + blake2b(table.encode(), digest_size=4).hexdigest()
    return f"{name}.{number}" if number else name


def free_majors(channel: Channel) -> list[int]:
    """Numbers that no qdisc of this machine has, one for each ifb.

    Class ids travel in packets. Those that end in 0 or 1 are left to the queues of
    classes. Where one of a run is taken the next is used: so are those of another
    daemon, which may not have made all its ifbs yet.
    """
    answers = channel.dump(tc.ask(tc.GET_QDISC, 0))
    taken = {tc.HEAD.unpack_from(answer)[2] >> 16 for answer in answers}
    fitting = [number for number in _MAJORS if number % 16 > 1]
    runs = (fitting[at : at + IFBS] for at in range(0, len(fitting), IFBS))
    for run in runs:
        if len(run) == IFBS and not taken.intersection(run):
            return run
    return [number for number in fitting if number not in taken][:IFBS]


def objection_to(link: Link, root: tc.Queue | None, kind: str = "ifb") -> str:
    """Why a device of such a name is somebody else's; empty if it is ours.

    A daemon may have been killed before it gave its device a root: whoever gives it one
    gives it a handle, too, which the kernel's own have not.
    """
    if link.kind != kind:
        article = "an" if kind == "ifb" else "a"
        return f"exists and is not {article} {kind}"
    if root is not None and root.major:
        if root.kind == "htb" and root.major in _MAJORS:
            return ""
        what = f"{plain(root.kind)} {root.major:x}: at its root, not ours"
        return f"exists, and has {what}"
    return "" if link.address == ADDRESS else "exists and was not made by vpngate"
