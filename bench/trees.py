# SPDX-License-Identifier: GPL-2.0-or-later
"""One registry in a tree of ours, or of a peer's: filled, and asked.

    python -m bench.trees WHO FILE

fills one from a registry's CSV in this process and prints as JSON how many seconds it
took from the file's bytes on, the MiB that it grew by at most, those bytes with it, and
those that stay without them.
Peers check no row, keep no dates and report nothing: they get prefix and registration.
"""

import csv
import importlib.util
import io
import json
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bench.footprint import peak, resident
from bench.registry import NOW
from vpngate.registry import Limits, load

OURS = "vpngate"
_LEAST = 0.1  # MiB; what is less is somebody else's
_MODULES = {"pytricia": "pytricia", "py-radix": "radix"}  # peers

Ask = Callable[[Sequence[bytes]], object]  # look all of these up


def peers() -> list[str]:
    """Those that are installed."""
    return [who for who, module in _MODULES.items() if importlib.util.find_spec(module)]


def filled(who: str, data: bytes) -> tuple[object, Ask]:
    """The tree, and what asks it about addresses of one family."""
    return {OURS: _ours, "pytricia": _pytricia, "py-radix": _radix}[who](data)


def _rows(data: bytes) -> Iterator[list[str]]:
    rows = csv.reader(io.StringIO(data.decode()))
    next(rows)
    return rows


def _ours(data: bytes) -> tuple[object, Ask]:
    registry = load(data, limits=Limits(), now=NOW).registry
    lookup = registry.lookup

    def ask(addresses: Sequence[bytes]) -> None:
        for address in addresses:
            lookup(address, NOW)

    return registry, ask


def _pytricia(data: bytes) -> tuple[object, Ask]:
    from pytricia import PyTricia  # noqa: PLC0415 - a peer, not always there

    four, six = PyTricia(32, socket.AF_INET), PyTricia(128, socket.AF_INET6)
    for prefix, registration, *_ in _rows(data):
        (six if ":" in prefix else four)[prefix] = registration
    for tree in (four, six):
        tree.freeze()

    def ask(addresses: Sequence[bytes]) -> None:
        find = (four if len(addresses[0]) == 4 else six).get
        for address in addresses:
            find(address)

    return (four, six), ask


def _radix(data: bytes) -> tuple[object, Ask]:
    from radix import Radix  # noqa: PLC0415 - a peer, not always there

    tree = Radix()
    for prefix, registration, *_ in _rows(data):
        tree.add(prefix).data["registration"] = registration
    find = tree.search_best

    def ask(addresses: Sequence[bytes]) -> None:
        for address in addresses:
            node = find(packed=address)
            if node is not None:
                node.data["registration"]

    return tree, ask


def main() -> None:
    who, file = sys.argv[1:]
    before = resident()
    data = Path(file).read_bytes()
    begin = time.perf_counter()
    tree, _ = filled(who, data)
    seconds = time.perf_counter() - begin
    del data
    found = {
        "seconds": seconds,
        "peak": max(_LEAST, peak() - before),
        "stays": max(_LEAST, resident() - before),
    }
    print(json.dumps(found))
    assert tree


if __name__ == "__main__":
    main()
