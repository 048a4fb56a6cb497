# SPDX-License-Identifier: GPL-2.0-or-later
"""What others have put into the kernel where vpngate works.

Knows base chains at the hooks of interfaces, flowtables, tables, queueing disciplines
and filters, as plain data; changes nothing, and does not know what any of it means
for us. Marks are read apart (`marks.py`).
"""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from vpngate.kernel.messages import DUMP, NETDEV, REQUEST, SUBSYSTEM
from vpngate.kernel.netlink import HEADER, Channel, attributes, each_attribute
from vpngate.packets import HookPoint

FAMILIES = {1: "inet", 2: "ip", 3: "arp", NETDEV: "netdev", 7: "bridge", 10: "ip6"}
GENERIC = 4  # bytes of nfgenmsg; the family is the first
EVERYTHING = bytes(GENERIC)  # of every family

_INET, _INET_INGRESS = 1, 5  # NFPROTO_INET, NF_INET_INGRESS
_GET_TABLE, _GET_CHAIN, _GET_FLOWTABLE = 1, 4, 23  # NFT_MSG_*
_TABLE_NAME, _TABLE_OWNER = 1, 7  # NFTA_TABLE_*
_CHAIN_TABLE, _CHAIN_NAME, _CHAIN_HOOK = 1, 3, 4  # NFTA_CHAIN_*
_HOOK_NUMBER, _HOOK_PRIORITY, _HOOK_DEVICE, _HOOK_DEVICES = 1, 2, 3, 4  # NFTA_HOOK_*
_DEVICE_PREFIX = 2  # NFTA_DEVICE_PREFIX, since 6.16
_FLOW_TABLE, _FLOW_NAME, _FLOW_HOOK = 1, 2, 3  # NFTA_FLOWTABLE_*
_FLOW_PRIORITY, _FLOW_DEVICES = 2, 3  # NFTA_FLOWTABLE_HOOK_*

_GET_QDISC, _GET_FILTER = 38, 46
TC = struct.Struct("=BxxxiIII")  # tcmsg: family, ifindex, handle, parent, info
KIND, OPTIONS = 1, 2  # TCA_*
_SIDES = {HookPoint.INGRESS: 0xFFFFFFF2, HookPoint.EGRESS: 0xFFFFFFF3}
CLSACT_MAJOR = 0xFFFF  # of clsact, and of the older ingress
# Where a classifier keeps its actions: TCA_BPF_ACT, TCA_U32_ACT, ...
_ACTIONS = {"bpf": 1, "matchall": 2, "basic": 3, "flower": 3, "fw": 4, "u32": 7}
_ACTION_KIND = 1  # TCA_ACT_KIND


@dataclass(frozen=True, slots=True)
class BaseChain:
    """A chain at the ingress or egress hook of interfaces, of netdev or inet.

    A device that ends in * stands for all whose names begin like this.
    """

    family: str
    table: str
    name: str
    point: HookPoint
    priority: int
    devices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Flowtable:
    """Established flows that are forwarded from an ingress hook, past all chains."""

    family: str
    table: str
    name: str
    priority: int
    devices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A table; `owner` is the netlink port of the socket that owns it, 0 if none."""

    family: str
    name: str
    owner: int


@dataclass(frozen=True, slots=True)
class Queue:
    """A queueing discipline, also clsact and ingress, which queue nothing."""

    interface: int
    kind: str
    handle: int
    parent: int

    @property
    def major(self) -> int:
        """The half of class ids that is its own."""
        return self.handle >> 16


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter of traffic control, and the kinds of its actions in order."""

    interface: int
    parent: int
    preference: int
    kind: str
    handle: int
    actions: tuple[str, ...] = ()


def base_chains(channel: Channel) -> list[BaseChain]:
    """The chains of all tables that stand at an ingress or egress hook."""
    return list(read_chains(channel.dump(ask_tables(_GET_CHAIN))))


def read_chains(answers: Iterable[bytes]) -> Iterator[BaseChain]:
    """The same from the kernel's answers."""
    for answer in answers:
        parts = attributes(answer, GENERIC)
        hook = attributes(parts.get(_CHAIN_HOOK, b""))
        point = _point(answer[0], number(hook.get(_HOOK_NUMBER, b"")))
        if _HOOK_NUMBER in hook and point is not None:
            yield BaseChain(
                FAMILIES[answer[0]],
                text(parts[_CHAIN_TABLE]),
                text(parts[_CHAIN_NAME]),
                point,
                number(hook[_HOOK_PRIORITY], signed=True),
                _devices(hook.get(_HOOK_DEVICES, b""), hook.get(_HOOK_DEVICE)),
            )


def flowtables(channel: Channel) -> list[Flowtable]:
    """All flowtables."""
    return list(read_flowtables(channel.dump(ask_tables(_GET_FLOWTABLE))))


def read_flowtables(answers: Iterable[bytes]) -> Iterator[Flowtable]:
    """The same from the kernel's answers."""
    for answer in answers:
        parts = attributes(answer, GENERIC)
        hook = attributes(parts.get(_FLOW_HOOK, b""))
        yield Flowtable(
            family(answer),
            text(parts[_FLOW_TABLE]),
            text(parts[_FLOW_NAME]),
            number(hook.get(_FLOW_PRIORITY, b""), signed=True),
            _devices(hook.get(_FLOW_DEVICES, b"")),
        )


def tables(channel: Channel) -> list[Table]:
    """All tables."""
    return [
        Table(
            family(answer),
            text(parts[_TABLE_NAME]),
            number(parts.get(_TABLE_OWNER, b"")),
        )
        for answer in channel.dump(ask_tables(_GET_TABLE))
        for parts in [attributes(answer, GENERIC)]
    ]


def queues(channel: Channel) -> list[Queue]:
    """The queueing disciplines of all interfaces."""
    found = []
    for answer in channel.dump(_ask_tc(_GET_QDISC, 0, 0)):
        _, interface, handle, parent, _ = TC.unpack_from(answer)
        kind = text(attributes(answer, TC.size).get(KIND, b""))
        found.append(Queue(interface, kind, handle, parent))
    return found


def filters(channel: Channel, interface: int, side: HookPoint) -> list[Filter]:
    """The filters at a side of clsact, first to last; none without one."""
    return list(read_filters(filter_messages(channel, interface, _SIDES[side])))


def filter_messages(channel: Channel, interface: int, parent: int) -> list[bytes]:
    """The kernel's answers about the filters below a queueing discipline."""
    return channel.dump(_ask_tc(_GET_FILTER, interface, parent))


def read_filters(answers: Iterable[bytes]) -> Iterator[Filter]:
    """The filters in the kernel's answers; each kind's head is none."""
    for answer in answers:
        _, interface, handle, parent, info = TC.unpack_from(answer)
        parts = attributes(answer, TC.size)
        kind = text(parts.get(KIND, b""))
        if handle and OPTIONS in parts:
            options = attributes(parts[OPTIONS])
            actions = options.get(_ACTIONS.get(kind, 0), b"")
            kinds = tuple(
                text(attributes(action).get(_ACTION_KIND, b""))
                for _, action in each_attribute(actions)
            )
            yield Filter(interface, parent, info >> 16, kind, handle, kinds)


def ask_tables(kind: int) -> bytes:
    """Ask nftables for all objects of a kind, of every family."""
    length = HEADER.size + len(EVERYTHING)
    return HEADER.pack(length, SUBSYSTEM | kind, REQUEST | DUMP, 0, 0) + EVERYTHING


def _ask_tc(kind: int, interface: int, parent: int) -> bytes:
    head = TC.pack(0, interface, 0, parent, 0)
    return HEADER.pack(HEADER.size + len(head), kind, REQUEST | DUMP, 0, 0) + head


def _point(number: int, hook: int) -> HookPoint | None:
    """The hook of an interface, if it is one: families number them each their way."""
    if number == NETDEV:
        return HookPoint(hook)
    if (number, hook) == (_INET, _INET_INGRESS):
        return HookPoint.INGRESS
    return None


def _devices(
    listed: bytes | memoryview, single: memoryview | None = None
) -> tuple[str, ...]:
    found = [
        text(name) + ("*" if kind == _DEVICE_PREFIX else "")
        for kind, name in each_attribute(listed)
    ]
    if not found and single is not None:
        found = [text(single)]
    return tuple(found)


def family(answer: bytes) -> str:
    """The family that an answer of nftables is about."""
    return FAMILIES.get(answer[0], str(answer[0]))


def text(data: bytes | memoryview) -> str:
    """A string of the kernel's."""
    return bytes(data).rstrip(b"\0").decode(errors="replace")


def number(data: bytes | memoryview, *, signed: bool = False) -> int:
    """A number of nftables, in network order; 0 where there is none."""
    return int.from_bytes(data, "big", signed=signed)
