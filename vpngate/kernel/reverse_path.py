# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether this machine itself drops what comes in from where its source does not live.

Knows the kernel's reverse path filter for IPv4 (rp_filter, ip-sysctl), and the rule of
nftables or ip6tables that stands for it with IPv6, which has none; changes nothing,
and does not know who relies on it.
"""

from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

from vpngate.kernel.neighbours import GENERIC, ask_tables, number, text
from vpngate.kernel.netlink import NETFILTER, Channel, attributes, each_attribute

_SYSCTL = Path("/proc/sys/net")
_STRICT = 1  # 0 is off, 2 loose; the larger of an interface's own and that of all

_GET_CHAIN, _GET_RULE = 4, 7  # NFT_MSG_*
_CHAIN_TABLE, _CHAIN_NAME, _CHAIN_HOOK, _HOOK_NUMBER = 1, 3, 4, 1  # NFTA_CHAIN_*
_RULE_TABLE, _RULE_CHAIN, _RULE_EXPRESSIONS = 1, 2, 4  # NFTA_RULE_*
_NAME, _DATA = 1, 2  # NFTA_EXPR_*
_PREROUTING = 0  # NF_INET_PRE_ROUTING
_FAMILIES = frozenset({1, 10})  # inet, ip6
_FIB_RESULT, _FIB_FLAGS = 2, 3  # NFTA_FIB_*
_INTERFACE_RESULTS = frozenset({1, 2})  # index, name
_OF_SOURCE_AND_INPUT = 1 << 0 | 1 << 3  # NFTA_FIB_F_SADDR, NFTA_FIB_F_IIF
_MATCH_NAME, _MATCH_INFO = 1, 3  # NFTA_MATCH_*
# Of xt_rpfilter's flags, the first byte of its data: LOOSE is content with any way
# back, INVERT picks what has none.
_LOOSE, _INVERT = 1 << 0, 1 << 3
_IMMEDIATE_DATA, _VERDICT, _VERDICT_CODE = 2, 2, 1  # NFTA_IMMEDIATE_DATA, ...
_DROP = 0  # NF_DROP

_Place = tuple[int, str, str]  # family, table, chain


def without_ipv4_filter(interfaces: Iterable[str]) -> list[str]:
    """Those of the interfaces that have no strict reverse path filter."""
    general = _read("ipv4/conf/all/rp_filter")
    return [
        name
        for name in interfaces
        if max(general, _read(f"ipv4/conf/{name}/rp_filter")) != _STRICT
    ]


def forwards_ipv6() -> bool:
    """Whether anybody's IPv6 packets pass through here."""
    return bool(_read("ipv6/conf/all/forwarding"))


def filters_ipv6() -> bool:
    """Whether a rule before routing drops IPv6 packets by their way back.

    Raises what the channel raises without CAP_NET_ADMIN.
    """
    with closing(Channel(NETFILTER)) as channel:
        hooked = set(read_prerouting(channel.dump(ask_tables(_GET_CHAIN))))
        return bool(hooked & set(read_filters(channel.dump(ask_tables(_GET_RULE)))))


def read_prerouting(answers: Iterable[bytes]) -> Iterator[_Place]:
    """The chains before routing, from the kernel's answers."""
    for answer in answers:
        parts = attributes(answer, GENERIC)
        hook = attributes(parts.get(_CHAIN_HOOK, b""))
        at = number(hook[_HOOK_NUMBER]) if _HOOK_NUMBER in hook else None
        if at == _PREROUTING and answer[0] in _FAMILIES:
            yield answer[0], text(parts[_CHAIN_TABLE]), text(parts[_CHAIN_NAME])


def read_filters(answers: Iterable[bytes]) -> Iterator[_Place]:
    """The chains with a rule that drops by the way back, from the kernel's answers."""
    for answer in answers:
        parts = attributes(answer, GENERIC)
        asks = drops = False
        for _, expression in each_attribute(parts.get(_RULE_EXPRESSIONS, b"")):
            inner = attributes(expression)
            name, data = text(inner.get(_NAME, b"")), attributes(inner.get(_DATA, b""))
            asks |= _asks_way_back(name, data)
            drops |= _drops(name, data)
        if asks and drops:
            yield answer[0], text(parts[_RULE_TABLE]), text(parts[_RULE_CHAIN])


def _asks_way_back(name: str, data: dict[int, memoryview]) -> bool:
    if name == "match":
        options = bytes(data.get(_MATCH_INFO, b""))[:1]
        is_strict = bool(options) and options[0] & (_LOOSE | _INVERT) == _INVERT
        return is_strict and text(data.get(_MATCH_NAME, b"")) == "rpfilter"
    flags = number(data.get(_FIB_FLAGS, b""))
    return (
        name == "fib"
        and number(data.get(_FIB_RESULT, b"")) in _INTERFACE_RESULTS
        and flags & _OF_SOURCE_AND_INPUT == _OF_SOURCE_AND_INPUT
    )


def _drops(name: str, data: dict[int, memoryview]) -> bool:
    if name != "immediate":
        return False
    verdict = attributes(attributes(data.get(_IMMEDIATE_DATA, b"")).get(_VERDICT, b""))
    return _VERDICT_CODE in verdict and number(verdict[_VERDICT_CODE]) == _DROP


def _read(sysctl: str) -> int:
    """A number of the kernel's; 0 if there is none (an interface that has gone)."""
    try:
        return int((_SYSCTL / sysctl).read_text("ascii"))
    except (OSError, ValueError):
        return 0
