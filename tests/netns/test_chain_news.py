# SPDX-License-Identifier: GPL-2.0-or-later
"""Which chains are told of, when they come and when they go, as the kernel says it."""

import pytest

from tests.lab.namespaces import LabError, wait_until
from tests.netns.wire import Wire, build
from vpngate.kernel.programmed.chain_news import ChainNews
from vpngate.kernel.wire.links import Announcement, What

_HOOK = "type filter hook"
_LAST = f"table netdev last {{ chain c {{ {_HOOK} ingress device lo priority 0; }}; }}"


@pytest.mark.parametrize(
    ("table", "chain", "comes", "goes"),
    [
        ("bridge f", f"{_HOOK} output priority 0;", True, True),
        ("bridge f", f"{_HOOK} prerouting priority 0;", True, True),
        ("bridge f", "", False, True),  # one that goes does not say where it stood
        ("inet f", f"{_HOOK} output priority 0;", False, True),
        ("ip f", f"{_HOOK} output priority 0;", False, False),
        ("netdev f", f"{_HOOK} ingress device gate0 priority 0;", True, True),
    ],
)
def test_what_comes_and_goes(
    table: str,
    chain: str,
    comes: bool,  # noqa: FBT001 - a case
    goes: bool,  # noqa: FBT001 - a case
) -> None:
    told: list[What] = []

    def note(news: Announcement) -> None:
        told.append(news.what)

    def listen(wire: Wire) -> None:
        run = wire.gateway.run
        with ChainNews(note):
            try:
                run("nft", f"table {table} {{ chain c {{ {chain} }}; }}")
            except LabError:
                pytest.skip(
                    f"this kernel has no tables of {table.split(maxsplit=1)[0]}"
                )
            run("nft", _LAST)
            wait_until(lambda: told.count(What.CHAIN) == comes + 1, "it comes")
            run("nft", "delete", "table", *table.split())
            run("nft", "delete", "table", "netdev", "last")
            wait_until(lambda: told.count(What.CHAIN_GONE) == goes + 1, "it goes")
            assert told.count(What.CHAIN) == comes + 1

    with build() as wire:
        wire.gateway.call(lambda: listen(wire))
