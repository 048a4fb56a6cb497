# SPDX-License-Identifier: GPL-2.0-or-later
"""The changes to an nftables table, as netlink messages.

Knows how tables, sets, counters, chains and rules are spelled on the wire; does not
know sockets or what any of them is for. Elements are packed apart (`elements.py`):
there may be millions.

The bytes of a change carry no sequence number yet; whoever sends them gives one.
"""

import struct
from collections.abc import Sequence
from functools import lru_cache
from itertools import count
from typing import Any

from vpngate.expressions import Expression
from vpngate.kernel.wire import nft
from vpngate.kernel.wire.attributes import (
    APPEND,
    CREATE,
    DUMP,
    EXCLUSIVE,
    attribute,
    message,
    number,
)
from vpngate.kernel.wire.channel import Change
from vpngate.kernel.wire.declarations import (
    nft_chain_msg,
    nft_obj_msg,
    nft_set_msg,
    nft_table_msg,
    packed,
    packed_rule,
    rule_msg,
)
from vpngate.kernel.wire.encoding import encode_rule, nested
from vpngate.ruleset.table import Chain, DataType, Line, Nature, Set

_HOST_ORDER, _NETWORK_ORDER = struct.pack("=I", 1), struct.pack("=I", 2)
_BYTE_ORDER = {
    DataType.MARK: _HOST_ORDER,
    DataType.IFINDEX: _HOST_ORDER,
    DataType.CLASSID: _HOST_ORDER,
}
_FLAGS = {
    Nature.INTERVALS: {"NFT_SET_INTERVAL"},
    Nature.EXPIRING: {"NFT_SET_TIMEOUT"},
    Nature.DYNAMIC: {"NFT_SET_TIMEOUT", "NFT_SET_EVAL"},
}

_set_ids = count(1)


def new_table(name: str, *, owned: bool = True) -> Change:
    """Take the table, or fail if there is one of that name."""
    flags = nft.OWNED if owned else 0
    attributes = [("NFTA_TABLE_NAME", name), ("NFTA_TABLE_FLAGS", flags)]
    return _change(
        nft_table_msg, nft.NEW_TABLE, attributes, CREATE | EXCLUSIVE, f"table {name}"
    )


def delete_table(name: str) -> Change:
    """Remove the table with all it holds."""
    attributes = [("NFTA_TABLE_NAME", name)]
    return _change(nft_table_msg, nft.DELETE_TABLE, attributes, 0, f"table {name}")


def new_set(table: str, new: Set) -> Change:
    """A set or a map."""
    flags = set(_FLAGS[new.nature])
    attributes: list[tuple[str, Any]] = [
        ("NFTA_SET_TABLE", table),
        ("NFTA_SET_NAME", new.name),
        ("NFTA_SET_KEY_TYPE", new.key_type),
        ("NFTA_SET_KEY_LEN", new.key_width),
        ("NFTA_SET_ID", next(_set_ids)),
    ]
    user_data = [
        (
            "NFTNL_UDATA_SET_KEYBYTEORDER",
            _BYTE_ORDER.get(new.key[0], _NETWORK_ORDER),
        )
    ]
    if new.value:
        flags.add("NFT_SET_MAP")
        attributes += [
            ("NFTA_SET_DATA_TYPE", new.value_type),
        ]
        if new.value != (DataType.VERDICT,):
            attributes.append(("NFTA_SET_DATA_LEN", new.value_width))
        user_data.append(
            (
                "NFTNL_UDATA_SET_DATABYTEORDER",
                _BYTE_ORDER.get(new.value[0], _NETWORK_ORDER),
            )
        )
    if new.timeout:
        attributes.append(("NFTA_SET_TIMEOUT", round(new.timeout * 1000)))
    if new.size:
        attributes.append(("NFTA_SET_DESC", nested(("NFTA_SET_DESC_SIZE", new.size))))
    user_data.append(("NFTNL_UDATA_SET_COMMENT", new.comment.encode() + b"\0"))
    attributes += [("NFTA_SET_FLAGS", flags), ("NFTA_SET_USERDATA", user_data)]
    return _change(nft_set_msg, nft.NEW_SET, attributes, CREATE, f"set {new.name}")


def delete_set(table: str, name: str) -> Change:
    """Remove a set that no rule names."""
    attributes = [("NFTA_SET_TABLE", table), ("NFTA_SET_NAME", name)]
    return _change(nft_set_msg, nft.DELETE_SET, attributes, 0, f"set {name}")


def get_set(table: str, name: str) -> bytes:
    """Ask for a set, without its elements."""
    attributes = [("NFTA_SET_TABLE", table), ("NFTA_SET_NAME", name)]
    return _encoded(nft_set_msg, nft.GET_SET, attributes, 0)


def get_sets(table: str) -> bytes:
    """Ask for all sets of a table, without their elements."""
    return _encoded(nft_set_msg, nft.GET_SET, [("NFTA_SET_TABLE", table)], DUMP)


def new_counter(table: str, name: str) -> Change:
    """A named counter."""
    attributes = [
        ("NFTA_OBJ_TABLE", table),
        ("NFTA_OBJ_NAME", name),
        ("NFTA_OBJ_TYPE", nft.COUNTER),
        ("NFTA_OBJ_DATA", nested()),
    ]
    return _change(nft_obj_msg, nft.NEW_OBJECT, attributes, CREATE, f"counter {name}")


def get_counters(table: str) -> bytes:
    """Ask for the table's counters."""
    attributes = [("NFTA_OBJ_TABLE", table), ("NFTA_OBJ_TYPE", nft.COUNTER)]
    return _encoded(nft_obj_msg, nft.GET_OBJECT, attributes, DUMP)


def new_chain(table: str, chain: Chain) -> Change:
    """A chain, without its rules."""
    attributes: list[tuple[str, Any]] = [
        ("NFTA_CHAIN_TABLE", table),
        ("NFTA_CHAIN_NAME", chain.name),
    ]
    if chain.hook is not None:
        devices = [("NFTA_DEVICE_NAME", name) for name in chain.hook.devices]
        hook = nested(
            ("NFTA_HOOK_HOOKNUM", chain.hook.point),
            ("NFTA_HOOK_PRIORITY", chain.hook.priority),
            ("NFTA_HOOK_DEVS", nested(*devices)),
        )
        attributes += [
            ("NFTA_CHAIN_HOOK", hook),
            ("NFTA_CHAIN_TYPE", "filter"),
            ("NFTA_CHAIN_POLICY", nft.ACCEPT),
        ]
    what = f"chain {chain.name}"
    return _change(nft_chain_msg, nft.NEW_CHAIN, attributes, CREATE, what)


@lru_cache(maxsize=2048)
def delete_chain(table: str, name: str) -> Change:
    """Remove a chain that has no rules and that no rule names."""
    attributes = [("NFTA_CHAIN_TABLE", table), ("NFTA_CHAIN_NAME", name)]
    return _change(nft_chain_msg, nft.DELETE_CHAIN, attributes, 0, f"chain {name}")


def get_chains() -> bytes:
    """Ask for all chains of the family; the kernel does not pick by table."""
    return _encoded(nft_chain_msg, nft.GET_CHAIN, [], DUMP)


@lru_cache(maxsize=2048)  # rules are built anew at each change, and few differ
def new_rule(table: str, chain: str, line: Line, *, first: bool = False) -> Change:
    """A rule, behind those that the chain has, or before them."""
    body = (
        nft.FAMILY_HEADER.pack(nft.NETDEV, 0, 0)
        + attribute(nft.RULE_TABLE, table.encode() + b"\0")
        + attribute(nft.RULE_CHAIN, chain.encode() + b"\0")
        + attribute(nft.RULE_EXPRESSIONS, b"".join(map(_expression, line.rule)))
        + attribute(nft.RULE_USERDATA, _comment(line))
    )
    what = f"rule {line.comment!r} in chain {chain}"
    flags = CREATE if first else CREATE | APPEND
    return Change(message(nft.SUBSYSTEM | nft.NEW_RULE, flags, body), what)


def _comment(line: Line) -> bytes:
    """A rule's comment, as its user data."""
    comment = line.comment.encode() + b"\0"
    return bytes([nft.COMMENT, len(comment)]) + comment


@lru_cache(maxsize=4096)
def _expression(expression: Expression) -> bytes:
    """An element of a rule's list of expressions."""
    return packed_rule(rule_msg.nft_expr, encode_rule((expression,)))


@lru_cache(maxsize=2048)
def delete_rules(table: str, chain: str) -> Change:
    """Remove every rule of a chain."""
    attributes = [("NFTA_RULE_TABLE", table), ("NFTA_RULE_CHAIN", chain)]
    return _change(rule_msg, nft.DELETE_RULE, attributes, 0, f"rules of {chain}")


def delete_rule(table: str, chain: str, handle: int) -> Change:
    """Remove the one rule of that handle."""
    attributes = [
        ("NFTA_RULE_TABLE", table),
        ("NFTA_RULE_CHAIN", chain),
        ("NFTA_RULE_HANDLE", handle),
    ]
    return _change(rule_msg, nft.DELETE_RULE, attributes, 0, f"a rule of {chain}")


def get_rules(table: str, chain: str) -> bytes:
    """Ask for the rules of a chain; there are none of a chain that is not there."""
    attributes = [("NFTA_RULE_TABLE", table), ("NFTA_RULE_CHAIN", chain)]
    return _encoded(rule_msg, nft.GET_RULE, attributes, DUMP)


def handles_of(answers: Sequence[bytes], line: Line) -> list[int]:
    """The handles of those rules, as answered, that are called as that line is."""
    each = map(nft.parts, answers)
    called = _comment(line)
    return [
        number(parts[nft.RULE_HANDLE])
        for parts in each
        if parts.get(nft.RULE_USERDATA, b"") == called
    ]


def new_chains(table: str, chains: Sequence[Chain]) -> list[Change]:
    """Chains of a table, then all their rules."""
    changes = [new_chain(table, chain) for chain in chains]
    for chain in chains:
        changes += rules(table, chain)
    return changes


def rules(table: str, chain: Chain) -> list[Change]:
    """The rules of a chain that has none yet."""
    return [new_rule(table, chain.name, line) for line in chain.lines]


def _change(
    declared: type[Any],
    kind: int,
    attributes: list[tuple[str, Any]],
    flags: int,
    what: str,
) -> Change:
    return Change(_encoded(declared, kind, attributes, flags), what)


def _encoded(
    declared: type[Any], kind: int, attributes: list[tuple[str, Any]], flags: int
) -> bytes:
    body = nft.FAMILY_HEADER.pack(nft.NETDEV, 0, 0) + packed(declared, attributes)
    return message(nft.SUBSYSTEM | kind, flags, body)
