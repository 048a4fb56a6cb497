# SPDX-License-Identifier: GPL-2.0-or-later
"""Chains of family bridge that packets of a bridge itself meet.

Knows the hooks around a bridge, not what rules ask for: a rule there may ask for a
packet's connection (`ct state`), or have noted something of it (`ct zone set`), and one
that has been in a pair has none. Where frames are forwarded, none of the bridge's own
comes by.
"""

from collections.abc import Iterable

from vpngate.kernel.wire import nft
from vpngate.kernel.wire.attributes import DUMP, attributes, message, number, text
from vpngate.kernel.wire.channel import Channel

_BRIDGE = 7  # NFPROTO_BRIDGE
_HOOKS = {0, 1, 3, 4}  # NF_BR_PRE_ROUTING, _LOCAL_IN, _LOCAL_OUT, _POST_ROUTING


def chain_around_bridges(nftables: Channel) -> str:
    """One of this network namespace's, by table and name; empty if there is none."""
    asked = nft.FAMILY_HEADER.pack(_BRIDGE, 0, 0)
    question = message(nft.SUBSYSTEM | nft.GET_CHAIN, DUMP, asked)
    return read_chain(nftables.dump(question))


def read_chain(answers: Iterable[bytes]) -> str:
    """The same from the kernel's answers."""
    for answer in answers:
        parts = nft.parts(answer)
        hook = attributes(parts.get(nft.CHAIN_HOOK, b""))
        hooked = answer[0] == _BRIDGE and nft.HOOK_NUMBER in hook
        if hooked and number(hook[nft.HOOK_NUMBER]) in _HOOKS:
            return f"{text(parts[nft.CHAIN_TABLE])} {text(parts[nft.CHAIN_NAME])}"
    return ""
