# SPDX-License-Identifier: GPL-2.0-or-later
"""Which chains packets of a bridge itself meet, from the kernel's answers."""

import struct

import pytest

from vpngate.kernel.bpf.needs.bridge_chains import read_chain
from vpngate.kernel.wire import nft
from vpngate.kernel.wire.attributes import attribute

BRIDGE, INET = 7, 1


def answer(family: int, hook: int | None) -> bytes:
    named = attribute(nft.CHAIN_TABLE, b"f\0") + attribute(nft.CHAIN_NAME, b"o\0")
    if hook is not None:
        at = attribute(nft.HOOK_NUMBER, struct.pack(">I", hook))
        at += attribute(nft.HOOK_PRIORITY, bytes(4))
        named += attribute(nft.CHAIN_HOOK, at, nested=True)
    return nft.FAMILY_HEADER.pack(family, 0, 0) + named


@pytest.mark.parametrize(
    ("family", "hook", "told"),
    [
        *((BRIDGE, hook, "f o") for hook in (0, 1, 3, 4)),
        (BRIDGE, 2, ""),  # forwarded
        (BRIDGE, None, ""),  # jumped to
        *((INET, hook, "") for hook in range(5)),
    ],
)
def test_hooks(family: int, hook: int | None, told: str) -> None:
    assert read_chain([answer(BRIDGE, None), answer(family, hook)]) == told
