# SPDX-License-Identifier: GPL-2.0-or-later
"""Expressions in the attributes that pyroute2 sends to nftables.

Knows each expression's attributes (linux/netfilter/nf_tables.h); does not know
messages, sets or sockets. Registers, keys and operators go out as numbers, flags as
names: so pyroute2 wants it.
"""

from functools import singledispatch
from typing import Any

from vpngate import expressions as ex
from vpngate.kernel.wire import nft

Attributes = list[tuple[str, Any]]
Nested = dict[str, Attributes]


def encode_rule(rule: ex.Rule) -> list[Nested]:
    """A rule's expressions, in order."""
    return [encode(expression) for expression in rule]


def encode(expression: ex.Expression) -> Nested:
    """One expression: its name in the kernel, and its attributes."""
    name, attributes = _attributes(expression)
    prefix = f"NFTA_{name.upper()}_"
    data = [(prefix + key, value) for key, value in attributes]
    return nested(
        ("NFTA_EXPR_NAME", name),
        ("NFTA_EXPR_DATA", nested(*data)),
    )


def nested(*attributes: tuple[str, Any]) -> Nested:
    """Attributes inside an attribute."""
    return {"attrs": list(attributes)}


def value(data: bytes) -> Nested:
    """A constant, as it would stand in a register."""
    return nested(("NFTA_DATA_VALUE", data))


@singledispatch
def _attributes(expression: ex.Expression) -> tuple[str, Attributes]:
    raise TypeError(f"{expression!r} is no expression")


@_attributes.register
def _(load: ex.Payload) -> tuple[str, Attributes]:
    return "payload", [
        ("DREG", load.register),
        ("BASE", load.base),
        ("OFFSET", load.offset),
        ("LEN", load.length),
    ]


@_attributes.register
def _(load: ex.ExtensionHeader) -> tuple[str, Attributes]:
    return "exthdr", [
        ("DREG", load.register),
        ("TYPE", load.type),
        ("OFFSET", 0),
        ("LEN", 1),
        ("FLAGS", {"NFT_EXTHDR_F_PRESENT"}),
    ]


@_attributes.register
def _(load: ex.Meta) -> tuple[str, Attributes]:
    return "meta", [("DREG", load.register), ("KEY", load.key)]


@_attributes.register
def _(load: ex.ReversePathCheck) -> tuple[str, Attributes]:
    return "fib", [
        ("DREG", load.register),
        ("RESULT", nft.FIB_OIF),
        ("FLAGS", nft.FIB_SOURCE | nft.FIB_INPUT | nft.FIB_PRESENT),
    ]


@_attributes.register
def _(store: ex.SetMeta) -> tuple[str, Attributes]:
    return "meta", [("KEY", store.key), ("SREG", store.register)]


@_attributes.register
def _(test: ex.Compare) -> tuple[str, Attributes]:
    return "cmp", [
        ("SREG", test.register),
        ("OP", test.operator),
        ("DATA", value(test.value)),
    ]


@_attributes.register
def _(test: ex.Range) -> tuple[str, Attributes]:
    return "range", [
        ("SREG", test.register),
        ("OP", int(test.outside)),  # NFT_RANGE_EQ, NFT_RANGE_NEQ
        ("FROM_DATA", value(test.low)),
        ("TO_DATA", value(test.high)),
    ]


@_attributes.register
def _(change: ex.Bitwise) -> tuple[str, Attributes]:
    return "bitwise", [
        ("SREG", change.source),
        ("DREG", change.register),
        ("LEN", len(change.mask)),
        ("MASK", value(change.mask)),
        ("XOR", value(change.xor)),
    ]


@_attributes.register
def _(load: ex.Immediate) -> tuple[str, Attributes]:
    return "immediate", [("DREG", load.register), ("DATA", value(load.value))]


@_attributes.register
def _(test: ex.Lookup) -> tuple[str, Attributes]:
    attributes: Attributes = [("SET", test.set_name), ("SREG", test.register)]
    if test.into is not None:
        attributes.append(("DREG", test.into))
    if test.inverted:
        attributes.append(("FLAGS", {"NFT_LOOKUP_F_INV"}))
    return "lookup", attributes


@_attributes.register
def _(verdict: ex.ChainVerdict) -> tuple[str, Attributes]:
    attributes: Attributes = [("NFTA_VERDICT_CODE", verdict.code)]
    if verdict.chain is not None:
        attributes.append(("NFTA_VERDICT_CHAIN", verdict.chain))
    data = nested(("NFTA_DATA_VERDICT", nested(*attributes)))
    return "immediate", [("DREG", ex.VERDICT_REGISTER), ("DATA", data)]


@_attributes.register
def _(count: ex.NamedCounter) -> tuple[str, Attributes]:
    return "objref", [("IMM_TYPE", nft.COUNTER), ("IMM_NAME", count.name)]


@_attributes.register
def _(test: ex.Limit) -> tuple[str, Attributes]:
    return "limit", [
        ("RATE", test.rate),
        ("UNIT", test.seconds),
        ("BURST", test.burst),
        ("TYPE", 0),  # NFT_LIMIT_PKTS
        ("FLAGS", int(test.over)),  # NFT_LIMIT_F_INV
    ]


@_attributes.register
def _(copy: ex.LogPacket) -> tuple[str, Attributes]:
    alone: Attributes = [("SNAPLEN", 0), ("QTHRESHOLD", 1), ("PREFIX", copy.word)]
    return "log", [("GROUP", copy.group), *(alone if copy.word else ())]


@_attributes.register
def _(send: ex.Forward) -> tuple[str, Attributes]:
    return "fwd", [("SREG_DEV", send.register)]


@_attributes.register
def _(change: ex.DynamicSet) -> tuple[str, Attributes]:
    attributes: Attributes = [
        ("SET_NAME", change.set_name),
        ("OP", change.operation),
        ("SREG_KEY", change.key_register),
    ]
    if change.value_register is not None:
        attributes.append(("SREG_DATA", change.value_register))
    if change.timeout is not None:
        attributes.append(("TIMEOUT", change.timeout))
    attributes += [("EXPR", encode(inner)) for inner in change.expressions]
    return "dynset", attributes
