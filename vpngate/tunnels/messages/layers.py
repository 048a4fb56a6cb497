# SPDX-License-Identifier: GPL-2.0-or-later
"""The fields of one scapy class, read from bytes; nothing behind them is guessed.

Knows how to dissect a single layer and how to compare its fields; does not know any
protocol. Dissecting a packet whole, scapy goes on guessing to its last byte, which
takes a hundred times as long; and making a packet object takes four times as long as
filling in its fields. So there is one blank of each class, filled in again and again,
by one thread at a time; the packet that people read is made when they ask.
"""

from collections.abc import Callable, Container, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from scapy.packet import Packet

Fields = Mapping[str, int | bytes | Container[int]]


class Layer(NamedTuple):
    """The fields of a class, as far as the bytes go that it was laid over."""

    kind: type[Packet]
    fields: Mapping[str, Any]
    data: bytes  # from its first byte on, to the end of the packet


_BLANKS: dict[Any, Any] = {}


def laid_over(kind: type[Packet], data: bytes) -> tuple[Layer, bytes] | None:
    """A layer of that class from the first bytes of `data`, and the bytes behind it.

    None if scapy cannot: the bytes come from anybody, and a class may raise anything.
    """
    try:
        if kind not in _BLANKS:
            _BLANKS[kind] = kind()
        blank = _BLANKS[kind]
        fields: dict[str, Any] = {}
        blank.fields = fields
        return Layer(kind, fields, data), blank.do_dissect(data)
    except Exception:  # noqa: BLE001 - what cannot be dissected is no message
        return None


def size_of(kind: type[Packet]) -> int:
    """Bytes that the fields of a class take, all of fixed size."""
    return int(sum(field.sz for field in kind.fields_desc))


def holds(layer: Layer, fields: Fields) -> bool:
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


def shown(layers: Sequence[Layer]) -> Callable[[], Any]:
    """Returns a function that makes one packet of some layers, each inside the last."""

    def made() -> Any:
        packets = [kind() for kind, _, _ in layers]
        for packet, layer in zip(packets, layers, strict=True):
            packet.do_dissect(layer.data)
        for upper, lower in pairwise(packets):
            upper.add_payload(lower)
        return packets[0]

    return made
