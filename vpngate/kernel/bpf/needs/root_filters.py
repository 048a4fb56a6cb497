# SPDX-License-Identifier: GPL-2.0-or-later
"""Filters of an interface's queue that choose a class by what a pair takes off.

Knows which kinds of filters ask a packet for its route, its connection or its sender,
and which of their options tell that they do (linux/pkt_cls.h); does not know whose they
are. Kinds that are not known here are taken for such ones. What a program of eBPF asks
for cannot be told.
"""

from collections.abc import Callable, Mapping
from typing import TypeAlias

from vpngate.kernel.wire import tc
from vpngate.kernel.wire.attributes import (
    attributes,
    each_attribute,
    host_number,
    text,
)
from vpngate.kernel.wire.channel import Channel

_Options: TypeAlias = Mapping[int, memoryview]

# Kinds of queues that take no filter: where one of these is, nobody has to ask.
WITHOUT_FILTERS = frozenset(
    {"noqueue", "noop", "pfifo_fast", "mq", "pfifo", "bfifo", "fq"}
)
_BY_WHAT_STAYS = frozenset({"bpf", "fw", "matchall", "rsvp", "rsvp6", "tcindex", "u32"})
# TCA_FLOWER_KEY_ENC_*, of the tunnel that a packet came by, and _CT_*
_FLOWER_LOST = frozenset(
    {*range(26, 35), *range(43, 47), *range(80, 86), *range(91, 99)}
)
_FLOW_KEYS, _FLOW_MATCHES, _BASIC_MATCHES = 1, 11, 2  # TCA_FLOW_*, TCA_BASIC_*
_LOST_KEYS = 0xFF00  # bits of FLOW_KEY_NFCT, ..., _RTCLASSID, _SKUID and _SKGID
_MATCH_LIST = 2  # TCA_EMATCH_TREE_LIST
_META, _XTABLES = 4, 9  # TCF_EM_META, _IPT: in the second half of a match's first word


def choosing_by_what_is_lost(route: Channel, index: int) -> str:
    """The kind of such a filter at the root of an interface's queue; empty if none."""
    for answer in route.dump(tc.ask(tc.GET_FILTER, index, tc.ANY_ROOT)):
        _, _, handle, _, _ = tc.HEAD.unpack_from(answer)
        parts = attributes(answer, tc.HEAD.size)
        # Of each kind and preference there is a head without a handle, told as well.
        if handle and tc.OPTIONS in parts:
            kind = text(parts.get(tc.KIND, b""))
            if asks_for_what_is_lost(kind, attributes(parts[tc.OPTIONS])):
                return kind
    return ""


def asks_for_what_is_lost(kind: str, options: _Options) -> bool:
    """Whether a filter does, by what it was told."""
    if kind in _BY_WHAT_STAYS:
        return False
    return _BY_OPTIONS[kind](options) if kind in _BY_OPTIONS else True


def _of_flower(options: _Options) -> bool:
    return not _FLOWER_LOST.isdisjoint(options)


def _of_flow(options: _Options) -> bool:
    by_key = bool(host_number(options.get(_FLOW_KEYS, b"")) & _LOST_KEYS)
    return by_key or _matches(options.get(_FLOW_MATCHES, b""))


def _of_basic(options: _Options) -> bool:
    return _matches(options.get(_BASIC_MATCHES, b""))


def _matches(tree: bytes | memoryview) -> bool:
    """Whether any of these extended matches looks beside the packet's own bytes."""
    each = each_attribute(attributes(tree).get(_MATCH_LIST, b""))
    kinds = {host_number(match[2:4]) for _, match in each}
    return bool(kinds & {_META, _XTABLES})


_BY_OPTIONS: Mapping[str, Callable[[_Options], bool]] = {
    "basic": _of_basic,
    "flow": _of_flow,
    "flower": _of_flower,
}
