# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether this machine itself drops what comes in from where its source does not live.

Knows the kernel's reverse path filter for IPv4 (rp_filter, ip-sysctl), and the rule of
nftables or ip6tables that stands for it with IPv6, which has none; changes nothing,
and does not know who relies on it.
"""

from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

from vpngate.kernel.wire import nft
from vpngate.kernel.wire.attributes import attributes, each_attribute, number, text
from vpngate.kernel.wire.channel import NETFILTER, Channel

_SYSCTL = Path("/proc/sys/net")
_STRICT = 1  # 0 is off, 2 loose; the larger of an interface's own and that of all

_FAMILIES = frozenset({nft.INET, nft.IPV6})
_INTERFACE_RESULTS = frozenset({nft.FIB_OIF, nft.FIB_OIFNAME})
_OF_SOURCE_AND_INPUT = nft.FIB_SOURCE | nft.FIB_INPUT
# Of xt_rpfilter's flags, the first byte of its data: LOOSE is content with any way
# back, INVERT picks what has none.
_LOOSE, _INVERT = 1 << 0, 1 << 3

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
        hooked = set(read_prerouting(channel.dump(nft.ask_all(nft.GET_CHAIN))))
        return bool(hooked & set(read_filters(channel.dump(nft.ask_all(nft.GET_RULE)))))


def read_prerouting(answers: Iterable[bytes]) -> Iterator[_Place]:
    """The chains before routing, from the kernel's answers."""
    for answer in answers:
        parts = nft.parts(answer)
        hook = attributes(parts.get(nft.CHAIN_HOOK, b""))
        at = number(hook[nft.HOOK_NUMBER]) if nft.HOOK_NUMBER in hook else None
        if at == nft.PREROUTING and answer[0] in _FAMILIES:
            yield answer[0], text(parts[nft.CHAIN_TABLE]), text(parts[nft.CHAIN_NAME])


def read_filters(answers: Iterable[bytes]) -> Iterator[_Place]:
    """The chains with a rule that drops by the way back, from the kernel's answers."""
    for answer in answers:
        parts = nft.parts(answer)
        asks = drops = False
        for _, expression in each_attribute(parts.get(nft.RULE_EXPRESSIONS, b"")):
            inner = attributes(expression)
            name, data = (
                text(inner.get(nft.EXPRESSION_NAME, b"")),
                attributes(inner.get(nft.EXPRESSION_DATA, b"")),
            )
            asks |= _asks_way_back(name, data)
            drops |= _drops(name, data)
        if asks and drops:
            yield answer[0], text(parts[nft.RULE_TABLE]), text(parts[nft.RULE_CHAIN])


def _asks_way_back(name: str, data: dict[int, memoryview]) -> bool:
    if name == "match":
        options = bytes(data.get(nft.EXTENSION_DATA, b""))[:1]
        is_strict = bool(options) and options[0] & (_LOOSE | _INVERT) == _INVERT
        return is_strict and text(data.get(nft.EXTENSION_NAME, b"")) == "rpfilter"
    flags = number(data.get(nft.FIB_FLAGS, b""))
    return (
        name == "fib"
        and number(data.get(nft.FIB_RESULT, b"")) in _INTERFACE_RESULTS
        and flags & _OF_SOURCE_AND_INPUT == _OF_SOURCE_AND_INPUT
    )


def _drops(name: str, data: dict[int, memoryview]) -> bool:
    if name != "immediate":
        return False
    verdict = attributes(
        attributes(data.get(nft.IMMEDIATE_DATA, b"")).get(nft.DATA_VERDICT, b"")
    )
    return nft.VERDICT_CODE in verdict and number(verdict[nft.VERDICT_CODE]) == nft.DROP


def _read(sysctl: str) -> int:
    """A number of the kernel's; 0 if there is none (an interface that has gone)."""
    try:
        return int((_SYSCTL / sysctl).read_text("ascii"))
    except (OSError, ValueError):
        return 0
