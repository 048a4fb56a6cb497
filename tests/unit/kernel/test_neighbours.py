# SPDX-License-Identifier: GPL-2.0-or-later
"""What is read from the kernel's answers about others; some from other kernels."""

import struct
from typing import cast

import pytest

from vpngate.kernel.neighbours import (
    BaseChain,
    Filter,
    Flowtable,
    egress_filters,
    read_chains,
    read_filters,
    read_flowtables,
)
from vpngate.kernel.wire import tc
from vpngate.kernel.wire.attributes import HEADER, attribute
from vpngate.kernel.wire.channel import Channel
from vpngate.packets import HookPoint

NETDEV, INET, IP = 5, 1, 2


def nested(kind: int, *parts: bytes) -> bytes:
    return attribute(kind, b"".join(parts), nested=True)


def word(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack(">i", value))


def string(kind: int, value: str) -> bytes:
    return attribute(kind, value.encode() + b"\0")


def answer(family: int, *parts: bytes) -> bytes:
    return bytes((family, 0, 0, 0)) + b"".join(parts)


def chain(family: int, *hook: bytes) -> bytes:
    return answer(family, string(1, "own"), string(3, "late"), nested(4, *hook))


LAN0, LAN1 = string(1, "lan0"), string(1, "lan1")


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (
            chain(NETDEV, word(1, 0), word(2, -150), nested(4, LAN0, LAN1)),
            ("netdev", HookPoint.INGRESS, -150, ("lan0", "lan1")),
        ),
        (
            chain(NETDEV, word(1, 1), word(2, 600), string(3, "lan0")),
            ("netdev", HookPoint.EGRESS, 600, ("lan0",)),
        ),
        (  # both, as kernels tell of a single device
            chain(NETDEV, word(1, 1), word(2, 6), string(3, "lan0"), nested(4, LAN0)),
            ("netdev", HookPoint.EGRESS, 6, ("lan0",)),
        ),
        (  # a wildcard, since Linux 6.16
            chain(NETDEV, word(1, 0), word(2, 6), nested(4, string(2, "ppp"))),
            ("netdev", HookPoint.INGRESS, 6, ("ppp*",)),
        ),
        (
            chain(INET, word(1, 5), word(2, 600), nested(4, LAN0)),
            ("inet", HookPoint.INGRESS, 600, ("lan0",)),
        ),
        (chain(INET, word(1, 2), word(2, 0)), None),  # forward
        (chain(IP, word(1, 0), word(2, 0)), None),  # prerouting
        (answer(NETDEV, string(1, "own"), string(3, "no hook")), None),
    ],
)
def test_chains(
    data: bytes, found: tuple[str, HookPoint, int, tuple[str, ...]] | None
) -> None:
    chains = list(read_chains([data]))
    if found is None:
        assert chains == []
    else:
        family, *rest = found
        assert chains == [BaseChain(family, "own", "late", *rest)]  # type: ignore[arg-type]


def test_flowtables() -> None:
    hook = nested(3, word(1, 0), word(2, -10), nested(3, LAN0, LAN1))
    data = answer(INET, string(1, "own"), string(2, "fast"), hook)
    bare = answer(99, string(1, "own"), string(2, "idle"))
    assert list(read_flowtables([data, bare])) == [
        Flowtable("inet", "own", "fast", -10, ("lan0", "lan1")),
        Flowtable("99", "own", "idle", 0, ()),
    ]


def filter_answer(kind: str, handle: int, *options: bytes) -> bytes:
    head = struct.pack("=BxxxiIII", 0, 7, handle, 0xFFFFFFF3, 3 << 16 | 0x0300)
    return head + string(1, kind) + nested(2, *options)


@pytest.mark.parametrize(
    ("kind", "place"),
    [("bpf", 1), ("matchall", 2), ("flower", 3), ("fw", 4), ("u32", 7)],
)
def test_filters_and_their_actions(kind: str, place: int) -> None:
    actions = [nested(n, string(1, name)) for n, name in enumerate(["skbedit", "gact"])]
    data = filter_answer(kind, 1, nested(place, *actions))
    assert list(read_filters([data])) == [
        Filter(7, 0xFFFFFFF3, 3, kind, 1, ("skbedit", "gact"))
    ]


@pytest.mark.parametrize(
    ("kind", "options", "acts"),
    [
        ("u32", [string(1, "class")], False),
        ("u32", [nested(7, nested(1, string(1, "mirred")))], True),
        ("u32", [nested(6, string(1, "rate"))], True),  # police, as it once was
        ("bpf", [word(8, 1)], False),  # acts by itself
        ("novel", [], True),
    ],
)
def test_what_does_more_than_to_choose_a_class(
    kind: str, options: list[bytes], *, acts: bool
) -> None:
    [one] = read_filters([filter_answer(kind, 1, *options)])
    assert one.acts is acts


def test_a_filter_of_a_kind_unknown_and_a_head() -> None:
    found = read_filters([filter_answer("novel", 1), filter_answer("novel", 0)])
    assert list(found) == [Filter(7, 0xFFFFFFF3, 3, "novel", 1)]


class Kernel:
    """Has a filter at the root of interface 7, and one where what is at its hooks is.

    Asked for all queueing disciplines it fails: with 20,000 subscribers these are
    80,000, of which no class can be made while the kernel lists them.
    """

    def __init__(self, at_hooks: str, root: int = 1) -> None:
        self._at_hooks = at_hooks
        self._filters = {tc.ANY_ROOT: root, tc.CLSACT_EGRESS: 1 if at_hooks else 0}
        self.asked_for_one = 0

    def ask_for_one(self, request: bytes) -> bytes | None:
        *_, parent, _ = tc.HEAD.unpack_from(request, HEADER.size)
        assert parent == tc.CLSACT
        self.asked_for_one += 1
        head = tc.HEAD.pack(0, 7, 0xFFFF0000, parent, 0)
        return head + string(1, self._at_hooks) if self._at_hooks else None

    def dump(self, request: bytes) -> list[bytes]:
        assert HEADER.unpack_from(request)[1] == tc.GET_FILTER
        *_, parent, _ = tc.HEAD.unpack_from(request, HEADER.size)
        return [filter_answer("u32", 1 + n) for n in range(self._filters[parent])]


@pytest.mark.parametrize(
    ("at_hooks", "count"),
    [
        ("", 1),
        ("ingress", 1),  # it shows its own for those of egress
        ("clsact", 2),
    ],
)
def test_filters_on_the_way_out(at_hooks: str, count: int) -> None:
    assert len(egress_filters(cast("Channel", Kernel(at_hooks)), 7)) == count


def test_where_there_is_no_filter_nobody_hears_of_the_question() -> None:
    """The answer about one queueing discipline goes to all who listen for changes."""
    kernel = Kernel("", root=0)
    assert egress_filters(cast("Channel", kernel), 7) == []
    assert kernel.asked_for_one == 0
