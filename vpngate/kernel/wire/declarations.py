# SPDX-License-Identifier: GPL-2.0-or-later
"""The messages of nftables, as pyroute2 declares them, mended for us alone.

Knows what pyroute2 0.9 lacks or has wrong, and nothing else. Everything here can go
when a release has it; each correction says what it corrects. pyroute2's own classes
stay as they are, for whoever else uses them in this process.
"""

from typing import Any

from pyroute2.netlink import nla
from pyroute2.netlink.nfnetlink import nfgen_msg
from pyroute2.netlink.nfnetlink.nftsocket import (
    nft_chain_msg,
    nft_contains_expr,
    nft_rule_msg,
    nft_set_msg,
    nft_table_msg,
)

__all__ = ["nft_chain_msg", "nft_obj_msg", "nft_set_msg", "nft_table_msg", "rule_msg"]


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
