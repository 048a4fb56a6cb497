# SPDX-License-Identifier: GPL-2.0-or-later
"""One scapy class laid over bytes: its fields, and nothing guessed behind them.

Knows how to dissect a single layer and how to compare its fields; does not know any
protocol. Dissecting a packet whole, scapy goes on guessing to its last byte, which
takes a hundred times as long.
"""

from collections.abc import Container, Mapping
from itertools import pairwise
from typing import Any

from scapy.packet import Packet

Fields = Mapping[str, int | bytes | Container[int]]


def laid_over(kind: type[Packet], data: bytes) -> tuple[Any, bytes] | None:
    """A layer of that class from the first bytes of `data`, and the bytes behind it.

    None if scapy cannot: the bytes come from anybody, and a class may raise anything.
    """
    try:
        layer = kind()
        return layer, layer.do_dissect(data)
    except Exception:  # noqa: BLE001 - what cannot be dissected is no message
        return None


def size_of(kind: type[Packet]) -> int:
    """Bytes that the fields of a class take, all of fixed size."""
    return int(sum(field.sz for field in kind.fields_desc))


def holds(layer: Any, fields: Fields) -> bool:
    """Whether each field has its value, or one of its values."""
    found = layer.fields
    for name, wanted in fields.items():
        value = found.get(name)
        if isinstance(wanted, int | bytes):
            if value != wanted:
                return False
        # Flags are a class of their own.
        elif value is None or int(value) not in wanted:
            return False
    return True


def chained(layers: list[Any]) -> Any:
    """The first of some layers, with the others as its payload: for people to read."""
    for upper, lower in pairwise(layers):
        upper.add_payload(lower)
    return layers[0]
