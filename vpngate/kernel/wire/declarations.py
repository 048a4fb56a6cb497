# SPDX-License-Identifier: GPL-2.0-or-later
"""The messages of nftables, as pyroute2 declares them: mended for us, and packed.

Knows what pyroute2 0.9 lacks or has wrong, and how attributes are packed by their
declarations; does not know what any of them means. Each correction says what it
corrects, and can go when a release has it. pyroute2's own classes stay as they are, for
whoever else uses them in this process. It makes an object of each attribute to pack it,
half a second of a processor at a start of the daemon; the bytes are the same.
"""

import struct
from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

from pyroute2.netlink import nla, nla_base_string
from pyroute2.netlink.nfnetlink import nfgen_msg
from pyroute2.netlink.nfnetlink.nftsocket import (
    nft_chain_msg,
    nft_contains_expr,
    nft_flags_be32,
    nft_rule_msg,
    nft_set_msg,
    nft_table_msg,
    nftnl_udata,
)

from vpngate.kernel.wire import nft
from vpngate.kernel.wire.attributes import attribute
from vpngate.kernel.wire.encoding import Attributes, Nested

__all__ = [
    "nft_chain_msg",
    "nft_obj_msg",
    "nft_set_msg",
    "nft_table_msg",
    "packed",
    "packed_rule",
    "rule_msg",
]


def _with_types(declared: type[Any], **types: str) -> tuple[tuple[str, str], ...]:
    """A class's attributes, some of them of another type."""
    return tuple((name, types.get(name, kind)) for name, kind in declared.nla_map)


class rule_msg(nft_rule_msg):  # type: ignore[misc]  # noqa: N801 -- as its sisters
    """A rule, of expressions that are mended.

    pyroute2 marks a class once it has compiled its attributes, and subclasses inherit
    that mark: so each of ours sets it back.
    """

    _nlmsg_base__compiled_nla = False

    class nft_expr(nft_contains_expr.nft_expr):  # type: ignore[misc]  # noqa: N801
        """An expression by its name."""

        _nlmsg_base__compiled_nla = False

        class nft_fwd(nft_contains_expr.nft_expr.nft_fwd):  # type: ignore[misc]  # noqa: N801
            """Its declaration in pyroute2 names a type that does not exist."""

            _nlmsg_base__compiled_nla = False
            u32 = nla.uint32

        class nft_fib(nft_contains_expr.nft_expr.nft_fib):  # type: ignore[misc]  # noqa: N801
            """In pyroute2 its result is a set of flags, and its flags are not bits."""

            _nlmsg_base__compiled_nla = False
            nla_map = _with_types(
                nft_contains_expr.nft_expr.nft_fib,
                NFTA_FIB_RESULT="be32",
                NFTA_FIB_FLAGS="be32",
            )

        class nft_log(nft_contains_expr.nft_expr.nft_log):  # type: ignore[misc]  # noqa: N801
            """Its group and its queue threshold have 16 bits, in pyroute2 32."""

            _nlmsg_base__compiled_nla = False
            nla_map = _with_types(
                nft_contains_expr.nft_expr.nft_log,
                NFTA_LOG_GROUP="be16",
                NFTA_LOG_QTHRESHOLD="be16",
            )

        class nft_dynset(nft_contains_expr.nft_expr.nft_dynset):  # type: ignore[misc]  # noqa: N801
            """It holds expressions, which have to be of our corrected class."""

            _nlmsg_base__compiled_nla = False


class nft_obj_msg(nfgen_msg):  # type: ignore[misc]  # noqa: N801 -- as its sisters
    """A stateful object, of which we use the counter; pyroute2 has none."""

    prefix = "NFTA_OBJ_"
    nla_map = (
        ("NFTA_OBJ_UNSPEC", "none"),
        ("NFTA_OBJ_TABLE", "asciiz"),
        ("NFTA_OBJ_NAME", "asciiz"),
        ("NFTA_OBJ_TYPE", "be32"),
        ("NFTA_OBJ_DATA", "counter"),
        ("NFTA_OBJ_USE", "be32"),
        ("NFTA_OBJ_HANDLE", "be64"),
        ("NFTA_OBJ_PAD", "hex"),
        ("NFTA_OBJ_USERDATA", "hex"),
    )

    class counter(nla):  # type: ignore[misc]  # noqa: N801 -- as its sisters
        """Packets and bytes."""

        nla_map = (
            ("NFTA_COUNTER_UNSPEC", "none"),
            ("NFTA_COUNTER_BYTES", "be64"),
            ("NFTA_COUNTER_PACKETS", "be64"),
        )


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
