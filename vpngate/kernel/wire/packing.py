# SPDX-License-Identifier: GPL-2.0-or-later
"""Messages of nftables, packed by pyroute2's declarations and not by its messages.

Knows how the numbers and types of attributes are read from a declaration; does not
know what any of them means. pyroute2 makes an object of each attribute to pack it,
which takes a start of the daemon half a second of a processor; the bytes are the same.
"""

import struct
from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

from pyroute2.netlink import nla_base_string
from pyroute2.netlink.nfnetlink.nftsocket import (
    nft_contains_expr,
    nft_flags_be32,
    nftnl_udata,
)

from vpngate.kernel.wire import nft
from vpngate.kernel.wire.attributes import attribute
from vpngate.kernel.wire.encoding import Attributes, Nested

_Declared = Any  # a class of pyroute2's


class _Known(NamedTuple):
    number: int
    pack: Callable[[Any], bytes]


def packed(declared: _Declared, attributes: Attributes) -> bytes:
    """Attributes, in order, by the class that declares them.

    Numbers are numbers, flags sets of names, what is nested is as `nested` makes it.
    KeyError for an attribute that is not declared, TypeError for one of another kind.
    """
    known = _known(declared)
    return b"".join(
        attribute(known[name].number, known[name].pack(value))
        for name, value in attributes
    )


def packed_expression(declared: _Declared, expression: Nested) -> bytes:
    """An expression's name and data; which class declares its data is in the name."""
    (_, name), (_, data) = expression["attrs"]
    inner = getattr(declared, f"nft_{name}")
    if hasattr(inner, "rule_expr"):
        inner.rule_expr = declared  # as pyroute2 does: what is of expressions itself
    return attribute(nft.EXPRESSION_NAME, _text(name)) + attribute(
        nft.EXPRESSION_DATA, packed(inner, data["attrs"])
    )


def packed_rule(declared: _Declared, rule: Iterable[Nested]) -> bytes:
    """A list of expressions."""
    return b"".join(
        attribute(nft.LIST_ELEMENT, packed_expression(declared, one)) for one in rule
    )


@cache
def _known(declared: _Declared) -> dict[str, _Known]:
    return {
        name: _Known(number, _packing(declared, kind))
        for number, (name, kind) in enumerate(declared.nla_map)
    }


def _packing(declared: _Declared, kind: str) -> Callable[[Any], bytes]:
    """How a value of a declared kind is packed."""
    found: Any = getattr(declared, kind, None)
    pack: Callable[[Any], bytes] = _not_ours
    if not callable(getattr(found, "mro", None)):
        pass  # no class: an array, or one that a value picks
    elif issubclass(found, nft_flags_be32):
        pack = partial(_flags, found.ops)
    elif issubclass(found, nftnl_udata):
        pack = found.udata_encode
    elif issubclass(found, nft_contains_expr.nft_expr):
        pack = partial(packed_expression, found)
    elif issubclass(found, nla_base_string):
        pack = _text if found.zstring else bytes
    elif [type(form) for _, form in found.fields] == [str]:
        pack = struct.Struct(found.fields[0][1]).pack
    elif found.nla_map:
        pack = partial(_nested, found)
    return pack


def _nested(declared: _Declared, value: Nested) -> bytes:
    return packed(declared, value["attrs"])


def _flags(of: Sequence[str], value: Iterable[str]) -> bytes:
    return struct.pack(">I", sum(1 << of.index(name) for name in value))


def _text(value: str) -> bytes:
    return value.encode() + b"\0"


def _not_ours(value: object) -> bytes:
    raise TypeError(f"{value!r} is of a kind that is not packed here")
