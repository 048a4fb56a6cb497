# SPDX-License-Identifier: GPL-2.0-or-later
"""A packet field by field, as scapy dissects it by a tunnel's declarations.

Knows how layers and fields of scapy are spelled, for people and for programs, and
which of them could hold an address; does not know any protocol. The bytes come from
anybody: what scapy cannot show is left out.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from vpngate.packets import Packet
from vpngate.plaintext import plain
from vpngate.recognition import Tunnel

# Our own limits.
_MOST_LAYERS = 40
_MOST_TEXT = 40  # characters of a value, for people
_MOST_ZEROS = 8  # bytes: more of them are not spelled out
_ADDRESS = 4  # bytes: what is shorter holds none
# In network byte order a number below starts with a zero byte, and no host's address
# does (RFC 1122 section 3.2.1.3).
_NO_ADDRESS = 1 << 24


class ShownField(NamedTuple):
    """A field: its name, its value for programs, and as people read it."""

    name: str
    value: Any
    text: str


class ShownLayer(NamedTuple):
    """A layer of a packet."""

    name: str
    fields: tuple[ShownField, ...]


class Blind:
    """What takes the place of values that could hold an address.

    Equal values of one explanation have the same number: whether an answer names what
    was asked can still be seen.
    """

    def __init__(self) -> None:
        self._numbers: dict[bytes, int] = {}

    def of(self, value: bytes) -> str:
        """What stands for these bytes."""
        number = self._numbers.setdefault(value, len(self._numbers) + 1)
        return f"#{number} ({len(value)} bytes)"


def dissected(
    tunnel: Tunnel, packet: Packet, blind: Blind | None = None
) -> tuple[ShownLayer, ...]:
    """The layers of a packet by the tunnel's second reader; none if it sees none.

    With `blind` no value that could hold an address is shown.
    """
    try:
        seen = tunnel.second()(packet)
        made = seen.layer if seen is not None else None
    except Exception:  # noqa: BLE001 - of crafted bytes scapy may make anything
        return ()
    layers: list[ShownLayer] = []
    while made is not None and made.fields_desc and len(layers) < _MOST_LAYERS:
        fields = tuple(_fields(made, blind))
        layers.append(ShownLayer(str(made.name), fields))
        made = made.payload
    return tuple(layers)


def _fields(layer: Any, blind: Blind | None) -> Iterator[ShownField]:
    for declared in layer.fields_desc:
        value = layer.fields.get(declared.name)
        if value is None:  # a field that this packet does not have
            continue
        try:
            yield _field(layer, declared, value, blind)
        except Exception:  # noqa: BLE001 - the same
            yield ShownField(declared.name, None, "?")


def _field(layer: Any, declared: Any, value: Any, blind: Blind | None) -> ShownField:
    if isinstance(value, bytes):
        if blind is not None and len(value) >= _ADDRESS and any(value):
            return ShownField(declared.name, *(blind.of(value),) * 2)
        return ShownField(declared.name, value.hex(), _bytes(value))
    if isinstance(value, int) or hasattr(value, "__int__"):  # flags are no int
        value = int(value)
        if blind is not None and _may_be_an_address(declared, value):
            on_the_wire = value.to_bytes(_width(declared), _order(declared))
            return ShownField(declared.name, *(blind.of(on_the_wire),) * 2)
        return ShownField(declared.name, value, _shortened(_spelled(layer, declared)))
    if isinstance(value, list) and all(type(one) is int for one in value):
        shown = [
            "?" if blind is not None and one >= _NO_ADDRESS else one for one in value
        ]
        return ShownField(declared.name, shown, _shortened(str(shown)))
    # An address, a time, a packet in a packet: nothing that we declare.
    text = "?" if blind is not None else _spelled(layer, declared)
    return ShownField(declared.name, text, _shortened(text))


def _spelled(layer: Any, declared: Any) -> str:
    """A value as scapy spells it, on one line."""
    value = layer.fields[declared.name]
    text = str(declared.i2repr(layer, value)) or str(int(value))  # no flag is set
    return plain(text)


def _bytes(value: bytes) -> str:
    if len(value) > _MOST_ZEROS and not any(value):
        return f"zero ({len(value)} bytes)"
    return _shortened(value.hex(), len(value))


def _shortened(text: str, size: int = 0) -> str:
    if len(text) <= _MOST_TEXT:
        return text
    return f"{text[:_MOST_TEXT]}..." + (f" ({size} bytes)" if size else "")


def _may_be_an_address(declared: Any, value: int) -> bool:
    if _width(declared) < _ADDRESS or value == 0:
        return False
    return value >= _NO_ADDRESS or _order(declared) == "little"


def _width(declared: Any) -> int:
    """Bytes that a number takes, whole ones."""
    inner = getattr(declared, "fld", declared)  # of a conditional field
    return -(-int(inner.sz * 8) // 8)


def _order(declared: Any) -> Any:
    inner = getattr(declared, "fld", declared)
    return "little" if str(inner.fmt).startswith("<") else "big"
