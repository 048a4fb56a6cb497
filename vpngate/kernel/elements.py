# SPDX-License-Identifier: GPL-2.0-or-later
"""Elements of sets and maps, packed for netlink.

Knows how keys, intervals, values and timeouts are spelled on the wire, a million at
a time; does not know what they stand for. An attribute holds at most 64 KiB, so
elements spread over many messages; a transaction may hold any number of them.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from vpngate.kernel import messages
from vpngate.kernel.messages import Change
from vpngate.kernel.netlink import HEADER, attribute, attributes
from vpngate.prefixes.intervals import Bounds
from vpngate.prefixes.rows import following

_TABLE, _SET, _ELEMENTS = 1, 2, 3  # NFTA_SET_ELEM_LIST_*
_LIST_ELEMENT = 1
_KEY, _DATA, _FLAGS, _TIMEOUT, _EXPIRATION = 1, 2, 3, 4, 5  # NFTA_SET_ELEM_*
_VALUE = 1  # NFTA_DATA_VALUE
_INTERVAL_END = 1
_NESTED = 0x8000
_ATTRIBUTE_ROOM = 65000  # an attribute's length is 16 bits


@dataclass(frozen=True, slots=True)
class Element:
    """An element with a timeout of its own, in seconds; `value` for maps."""

    key: bytes
    timeout: float | None = None
    value: bytes | None = None

    def packed(self) -> bytes:
        """The element as an item of a list."""
        parts = attribute(_KEY, attribute(_VALUE, self.key), nested=True)
        if self.value is not None:
            parts += attribute(_DATA, attribute(_VALUE, self.value), nested=True)
        if self.timeout is not None:
            milliseconds = struct.pack(">Q", round(self.timeout * 1000))
            parts += attribute(_TIMEOUT, milliseconds)
        return attribute(_LIST_ELEMENT, parts, nested=True)


def add(table: str, name: str, elements: Sequence[Element]) -> list[Change]:
    """Add elements; one that is there already stays as it is."""
    return _lists(messages.NEW_ELEMENT, messages.CREATE, table, name, elements)


def delete(table: str, name: str, elements: Sequence[Element]) -> list[Change]:
    """Delete elements; all of them have to be there."""
    return _lists(messages.DELETE_ELEMENT, 0, table, name, elements)


def flush(table: str, name: str) -> Change:
    """Delete all elements of a set."""
    body = _target(table, name)
    return Change(_message(messages.DELETE_ELEMENT, 0, body), f"elements of {name}")


def get(table: str, name: str, key: bytes) -> bytes:
    """Ask for the element of a key; of an interval set, for the one around it."""
    return _question(table, name, len(key)) + key + bytes(-len(key) % 4)


@lru_cache(maxsize=256)  # thousands of keys are asked for, of a few sets
def _question(table: str, name: str, width: int) -> bytes:
    """A question up to its key, which stands last and only needs to be padded."""
    item = Element(bytes(width)).packed()
    body = _target(table, name) + attribute(_ELEMENTS, item, nested=True)
    message = _message(messages.GET_ELEMENT, 0, body)
    return message[: len(message) - width - -width % 4]


def remaining(answer: bytes) -> float | None:
    """Seconds until an answer's element expires; None if it never does."""
    listed = attributes(answer, 4)[_ELEMENTS]
    element = attributes(attributes(listed)[_LIST_ELEMENT])
    expiration = element.get(_EXPIRATION)
    return int.from_bytes(expiration, "big") / 1000 if expiration else None


def key_of(answer: bytes) -> bytes:
    """The key of the element in an answer to `get`."""
    element = attributes(attributes(attributes(answer, 4)[_ELEMENTS])[_LIST_ELEMENT])
    return bytes(attributes(element[_KEY])[_VALUE])


def add_intervals(table: str, name: str, bounds: Bounds) -> list[Change]:
    """Add intervals to a set that has nothing there."""
    return _interval_lists(messages.NEW_ELEMENT, messages.CREATE, table, name, bounds)


def delete_intervals(table: str, name: str, bounds: Bounds) -> list[Change]:
    """Delete intervals that a set has, end for end."""
    return _interval_lists(messages.DELETE_ELEMENT, 0, table, name, bounds)


def _interval_lists(
    kind: int, flags: int, table: str, name: str, bounds: Bounds
) -> list[Change]:
    packed, size = pack_intervals(bounds)
    step = _ATTRIBUTE_ROOM // size * size
    return [
        _list_message(kind, flags, table, name, packed[start : start + step])
        for start in range(0, len(packed), step)
    ]


def pack_intervals(bounds: Bounds) -> tuple[bytes, int]:
    """Intervals as list items, and the bytes that each takes.

    An interval is two elements: its first address, and, marked as an end, the one
    behind its last. What ends at the top of the address space has no end element,
    and can only be the last; the key space simply ends.
    """
    width = bounds.first.shape[1]
    row = _interval_row(width)
    rows = np.zeros(len(bounds), dtype=row)
    behind, none_left = following(bounds.last)
    for field, number in _interval_constants(width):
        rows[field] = number
    rows["first"] = bounds.first
    rows["behind"] = behind
    packed = rows.tobytes()
    if len(bounds) and none_left[-1]:
        packed = packed[: len(packed) - _end_size(width)]
    return packed, row.itemsize


def _start_size(width: int) -> int:
    return 12 + width


def _end_size(width: int) -> int:
    return 20 + width


def _interval_row(width: int) -> np.dtype[np.void]:
    """The layout of one interval: nested attributes, flattened."""
    return np.dtype(
        [
            ("start_head", "=u2", 2),
            ("start_key", "=u2", 2),
            ("start_value", "=u2", 2),
            ("first", "u1", width),
            ("end_head", "=u2", 2),
            ("flags_head", "=u2", 2),
            ("flags", ">u4"),
            ("end_key", "=u2", 2),
            ("end_value", "=u2", 2),
            ("behind", "u1", width),
        ]
    )


def _interval_constants(width: int) -> Iterator[tuple[str, tuple[int, int] | int]]:
    key, value = 8 + width, 4 + width
    yield "start_head", (_start_size(width), _LIST_ELEMENT | _NESTED)
    yield "start_key", (key, _KEY | _NESTED)
    yield "start_value", (value, _VALUE)
    yield "end_head", (_end_size(width), _LIST_ELEMENT | _NESTED)
    yield "flags_head", (8, _FLAGS)
    yield "flags", _INTERVAL_END
    yield "end_key", (key, _KEY | _NESTED)
    yield "end_value", (value, _VALUE)


def _lists(
    kind: int, flags: int, table: str, name: str, elements: Sequence[Element]
) -> list[Change]:
    changes = []
    batch = bytearray()
    for element in elements:
        packed = element.packed()
        if len(batch) + len(packed) > _ATTRIBUTE_ROOM:
            changes.append(_list_message(kind, flags, table, name, bytes(batch)))
            batch.clear()
        batch += packed
    if batch:
        changes.append(_list_message(kind, flags, table, name, bytes(batch)))
    return changes


def _list_message(kind: int, flags: int, table: str, name: str, items: bytes) -> Change:
    body = _target(table, name) + attribute(_ELEMENTS, items, nested=True)
    return Change(_message(kind, flags, body), f"elements of {name}")


def _target(table: str, name: str) -> bytes:
    return attribute(_TABLE, table.encode() + b"\0") + attribute(
        _SET, name.encode() + b"\0"
    )


def _message(kind: int, flags: int, body: bytes) -> bytes:
    family = struct.pack(">BBH", messages.NETDEV, 0, 0)
    length = HEADER.size + len(family) + len(body)
    kind |= messages.SUBSYSTEM
    return HEADER.pack(length, kind, messages.REQUEST | flags, 0, 0) + family + body
