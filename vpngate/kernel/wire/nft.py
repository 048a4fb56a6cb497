# SPDX-License-Identifier: GPL-2.0-or-later
"""The numbers of nftables (linux/netfilter/nf_tables.h, nfnetlink.h), each once.

Knows what they are called, and how a list is asked for and an answer begins; does not
know what they are good for. pyroute2 has its own for what it encodes: these are for
what we pack and read ourselves.
"""

import struct

from vpngate.kernel.wire.attributes import DUMP, attributes, message

FAMILY_HEADER = struct.Struct(">BBH")  # nfgenmsg: family, version, resource id
SUBSYSTEM = 10 << 8  # NFNL_SUBSYS_NFTABLES, in a message's type

# NFPROTO_*
INET, NETDEV, IPV6 = 1, 5, 10
FAMILIES = {INET: "inet", 2: "ip", 3: "arp", NETDEV: "netdev", 7: "bridge", IPV6: "ip6"}

# NFT_MSG_*
NEW_TABLE, GET_TABLE, DELETE_TABLE = 0, 1, 2
NEW_CHAIN, GET_CHAIN, DELETE_CHAIN = 3, 4, 5
NEW_RULE, GET_RULE, DELETE_RULE = 6, 7, 8
NEW_SET, GET_SET, DELETE_SET = 9, 10, 11
NEW_ELEMENT, GET_ELEMENT, DELETE_ELEMENT = 12, 13, 14
NEW_OBJECT, GET_OBJECT = 18, 19
GET_FLOWTABLE = 23

# NF_*: verdicts, and hooks that are not an interface's own
DROP, ACCEPT = 0, 1
PREROUTING, INET_INGRESS = 0, 5

LIST_ELEMENT = 1  # NFTA_LIST_ELEM
DATA_VALUE, DATA_VERDICT = 1, 2  # NFTA_DATA_*
VERDICT_CODE, VERDICT_CHAIN = 1, 2  # NFTA_VERDICT_*
JUMP = -3  # NFT_JUMP

# NFTA_TABLE_*, and NFT_TABLE_F_OWNER: the table goes when its socket closes
TABLE_NAME, TABLE_OWNER = 1, 7
OWNED = 2

# NFTA_CHAIN_*, NFTA_HOOK_*, NFTA_DEVICE_*
CHAIN_TABLE, CHAIN_NAME, CHAIN_HOOK = 1, 3, 4
HOOK_NUMBER, HOOK_PRIORITY, HOOK_DEVICE, HOOK_DEVICES = 1, 2, 3, 4
DEVICE_PREFIX = 2  # since Linux 6.16

# NFTA_FLOWTABLE_*, NFTA_FLOWTABLE_HOOK_*
FLOWTABLE_TABLE, FLOWTABLE_NAME, FLOWTABLE_HOOK = 1, 2, 3
FLOWTABLE_PRIORITY, FLOWTABLE_DEVICES = 2, 3

# NFTA_RULE_*, NFTA_EXPR_*, and NFTNL_UDATA_RULE_COMMENT
RULE_TABLE, RULE_CHAIN, RULE_HANDLE = 1, 2, 3
RULE_EXPRESSIONS, RULE_USERDATA = 4, 7
COMMENT = 0
EXPRESSION_NAME, EXPRESSION_DATA = 1, 2

# NFTA_OBJ_*, NFTA_COUNTER_*, and NFT_OBJECT_COUNTER
OBJECT_NAME, OBJECT_DATA = 2, 4
COUNTER_BYTES, COUNTER_PACKETS = 1, 2
COUNTER = 1

# NFTA_SET_*
SET_NAME, SET_COUNT = 2, 20

# NFTA_SET_ELEM_LIST_*, NFTA_SET_ELEM_*, and NFT_SET_ELEM_INTERVAL_END
ELEMENTS_TABLE, ELEMENTS_SET, ELEMENTS = 1, 2, 3
ELEMENT_KEY, ELEMENT_DATA, ELEMENT_FLAGS = 1, 2, 3
ELEMENT_TIMEOUT, ELEMENT_EXPIRATION = 4, 5
INTERVAL_END = 1

# NFTA_FIB_*, NFT_FIB_RESULT_*, NFTA_FIB_F_*
FIB_RESULT, FIB_FLAGS = 2, 3
FIB_OIF, FIB_OIFNAME = 1, 2
FIB_SOURCE, FIB_INPUT, FIB_PRESENT = 1 << 0, 1 << 3, 1 << 5

# NFTA_IMMEDIATE_DATA; NFTA_MATCH_*, of extensions of iptables
IMMEDIATE_DATA = 2
EXTENSION_NAME, EXTENSION_DATA = 1, 3


def ask_all(kind: int) -> bytes:
    """Ask for all objects of a kind, of every family."""
    return message(SUBSYSTEM | kind, DUMP, bytes(FAMILY_HEADER.size))


def parts(answer: bytes) -> dict[int, memoryview]:
    """The attributes of an answer, by type; its first byte is the family."""
    return attributes(answer, FAMILY_HEADER.size)


def family(answer: bytes) -> str:
    """The family that an answer is about."""
    return FAMILIES.get(answer[0], str(answer[0]))
