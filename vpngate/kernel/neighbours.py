# SPDX-License-Identifier: GPL-2.0-or-later
"""What others have put into the kernel where vpngate works.

Knows base chains at the hooks of interfaces, flowtables, tables, queueing disciplines
and filters, as plain data; changes nothing, and does not know what any of it means
for us.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from vpngate.kernel.wire import nft, tc
from vpngate.kernel.wire.attributes import attributes, each_attribute, number, text
from vpngate.kernel.wire.channel import Channel
from vpngate.packets import HookPoint

_SIDES = {
    HookPoint.INGRESS: tc.CLSACT_INGRESS,
    HookPoint.EGRESS: tc.CLSACT_EGRESS,
}
# Where a classifier keeps its actions (TCA_BPF_ACT, TCA_U32_ACT, ...), and the one that
# it had before there were actions (TCA_BPF_POLICE, ...).
_ACTIONS = {"bpf": 1, "matchall": 2, "basic": 3, "flower": 3, "fw": 4, "u32": 7}
_POLICE = {"bpf": 2, "basic": 4, "fw": 2, "u32": 6}


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
class ListedTable:
    """A table; `owner` is the netlink port of the socket that owns it, 0 if none."""

    family: str
    name: str
    owner: int


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter of traffic control, and the kinds of its actions in order.

    Of a BPF program `name` is what whoever put it there called it.
    """

    interface: int
    parent: int
    preference: int
    kind: str
    handle: int
    actions: tuple[str, ...] = ()
    name: str = ""

    @property
    def acts(self) -> bool:
        """Whether it does more than to choose a class; of kinds unknown, assumed.

        A BPF program that acts by itself counts as choosing: no packet passes it by.
        """
        return bool(self.actions) or self.kind not in _ACTIONS


def base_chains(channel: Channel) -> list[BaseChain]:
    """The chains of all tables that stand at an ingress or egress hook."""
    return list(read_chains(channel.dump(nft.ask_all(nft.GET_CHAIN))))


def read_chains(answers: Iterable[bytes]) -> Iterator[BaseChain]:
    """The same from the kernel's answers."""
    for answer in answers:
        parts = nft.parts(answer)
        hook = attributes(parts.get(nft.CHAIN_HOOK, b""))
        point = _point(answer[0], number(hook.get(nft.HOOK_NUMBER, b"")))
        if nft.HOOK_NUMBER in hook and point is not None:
            yield BaseChain(
                nft.FAMILIES[answer[0]],
                text(parts[nft.CHAIN_TABLE]),
                text(parts[nft.CHAIN_NAME]),
                point,
                number(hook[nft.HOOK_PRIORITY], signed=True),
                _devices(hook.get(nft.HOOK_DEVICES, b""), hook.get(nft.HOOK_DEVICE)),
            )


def flowtables(channel: Channel) -> list[Flowtable]:
    """All flowtables."""
    return list(read_flowtables(channel.dump(nft.ask_all(nft.GET_FLOWTABLE))))


def read_flowtables(answers: Iterable[bytes]) -> Iterator[Flowtable]:
    """The same from the kernel's answers."""
    for answer in answers:
        parts = nft.parts(answer)
        hook = attributes(parts.get(nft.FLOWTABLE_HOOK, b""))
        yield Flowtable(
            nft.family(answer),
            text(parts[nft.FLOWTABLE_TABLE]),
            text(parts[nft.FLOWTABLE_NAME]),
            number(hook.get(nft.FLOWTABLE_PRIORITY, b""), signed=True),
            _devices(hook.get(nft.FLOWTABLE_DEVICES, b"")),
        )


def tables(channel: Channel) -> list[ListedTable]:
    """All tables."""
    return [
        ListedTable(
            nft.family(answer),
            text(parts[nft.TABLE_NAME]),
            number(parts.get(nft.TABLE_OWNER, b"")),
        )
        for answer in channel.dump(nft.ask_all(nft.GET_TABLE))
        for parts in [nft.parts(answer)]
    ]


def filters(channel: Channel, interface: int, side: HookPoint) -> list[Filter]:
    """The filters at a side of clsact, first to last; none without one."""
    return list(read_filters(_filter_messages(channel, interface, _SIDES[side])))


def asked(channel: Channel, interface: int, side: HookPoint) -> list[Filter]:
    """The filters that a packet is shown to on its way in or out, first to last."""
    if side is HookPoint.EGRESS:
        return egress_filters(channel, interface)
    return filters(channel, interface, side)


def egress_filters(channel: Channel, interface: int) -> list[Filter]:
    """All that are asked on the way out: those of clsact, then of the root's queue."""
    at_root = list(read_filters(_filter_messages(channel, interface, tc.ANY_ROOT)))
    found = filters(channel, interface, HookPoint.EGRESS)
    # The older ingress has one side only, and gives its filters for the other's, too.
    if found and tc.kind_at(channel, interface, tc.CLSACT) != "clsact":
        return at_root
    return found + at_root


def _filter_messages(channel: Channel, interface: int, parent: int) -> list[bytes]:
    return channel.dump(tc.ask(tc.GET_FILTER, interface, parent))


def read_filters(answers: Iterable[bytes]) -> Iterator[Filter]:
    """Yields the filters in the kernel's answers, without the head of each kind."""
    for answer in answers:
        _, interface, handle, parent, info = tc.HEAD.unpack_from(answer)
        parts = attributes(answer, tc.HEAD.size)
        kind = text(parts.get(tc.KIND, b""))
        if handle and tc.OPTIONS in parts:
            options = attributes(parts[tc.OPTIONS])
            actions = options.get(_ACTIONS.get(kind, 0), b"")
            kinds = tuple(
                text(attributes(action).get(tc.ACTION_KIND, b""))
                for _, action in each_attribute(actions)
            )
            if _POLICE.get(kind) in options:
                kinds += ("police",)
            name = text(options.get(tc.BPF_NAME, b"")) if kind == "bpf" else ""
            yield Filter(interface, parent, info >> 16, kind, handle, kinds, name)


def _point(number: int, hook: int) -> HookPoint | None:
    """The hook of an interface, if it is one: families number them each their way."""
    if number == nft.NETDEV:
        return HookPoint(hook)
    if (number, hook) == (nft.INET, nft.INET_INGRESS):
        return HookPoint.INGRESS
    return None


def _devices(
    listed: bytes | memoryview, single: memoryview | None = None
) -> tuple[str, ...]:
    found = [
        text(name) + ("*" if kind == nft.DEVICE_PREFIX else "")
        for kind, name in each_attribute(listed)
    ]
    if not found and single is not None:
        found = [text(single)]
    return tuple(found)
