# SPDX-License-Identifier: GPL-2.0-or-later
"""The messages of nftables and traffic control, as pyroute2 declares them, mended.

Knows what pyroute2 0.9 lacks or has wrong, and nothing else. Everything here can go
when a release has it; each correction says what it corrects.
"""

from pyroute2.netlink import nla
from pyroute2.netlink.nfnetlink import nfgen_msg
from pyroute2.netlink.nfnetlink.nftsocket import (
    nft_chain_msg,
    nft_contains_expr,
    nft_rule_msg,
    nft_set_msg,
    nft_table_msg,
)

__all__ = [
    "nfgen_msg",
    "nft_chain_msg",
    "nft_obj_msg",
    "nft_rule_msg",
    "nft_set_msg",
    "nft_table_msg",
]

_expr = nft_contains_expr.nft_expr

# The forward expression names a type that does not exist.
_expr.nft_fwd.u32 = nla.uint32

# The result and the flags of a question about routes: one is no set of flags, and the
# other one's numbers are bits.
_expr.nft_fib.nla_map = tuple(
    (name, kind if name.endswith(("UNSPEC", "DREG")) else "be32")
    for name, kind in _expr.nft_fib.nla_map
)

# The group and the queue threshold of a log are 16 bits wide, not 32.
_expr.nft_log.nla_map = tuple(
    (name, "be16" if name in ("NFTA_LOG_GROUP", "NFTA_LOG_QTHRESHOLD") else kind)
    for name, kind in _expr.nft_log.nla_map
)


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
