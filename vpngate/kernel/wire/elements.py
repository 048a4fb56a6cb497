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

from vpngate.kernel.wire import nft
from vpngate.kernel.wire.attributes import (
    CREATE,
    DUMP,
    NESTED,
    attribute,
    attributes,
    each_attribute,
    message,
)
from vpngate.kernel.wire.channel import Change
from vpngate.prefixes.intervals import Bounds
from vpngate.prefixes.rows import Rows, following

_ATTRIBUTE_ROOM = 65000  # an attribute's length is 16 bits


@dataclass(frozen=True, slots=True)
class Element:
    """An element with a timeout of its own, in seconds; `value` for maps."""

    key: bytes
    timeout: float | None = None
    value: bytes | None = None

    def packed(self) -> bytes:
        """The element as an item of a list."""
        parts = attribute(
            nft.ELEMENT_KEY, attribute(nft.DATA_VALUE, self.key), nested=True
        )
        if self.value is not None:
            parts += attribute(
                nft.ELEMENT_DATA, attribute(nft.DATA_VALUE, self.value), nested=True
            )
        if self.timeout is not None:
            milliseconds = struct.pack(">Q", round(self.timeout * 1000))
            parts += attribute(nft.ELEMENT_TIMEOUT, milliseconds)
        return attribute(nft.LIST_ELEMENT, parts, nested=True)


def add(table: str, name: str, elements: Sequence[Element]) -> list[Change]:
    """Add elements; one that is there already stays as it is."""
    return _lists(nft.NEW_ELEMENT, CREATE, table, name, elements)


def delete(table: str, name: str, elements: Sequence[Element]) -> list[Change]:
    """Delete elements; all of them have to be there."""
    return _lists(nft.DELETE_ELEMENT, 0, table, name, elements)


def flush(table: str, name: str) -> Change:
    """Delete all elements of a set."""
    body = _target(table, name)
    return Change(_message(nft.DELETE_ELEMENT, 0, body), f"elements of {name}")


def get(table: str, name: str, key: bytes) -> bytes:
    """Ask for the element of a key; of an interval set, for the one around it."""
    return _question(table, name, len(key)) + key + bytes(-len(key) % 4)


@lru_cache(maxsize=256)  # thousands of keys are asked for, of a few sets
def _question(table: str, name: str, width: int) -> bytes:
    """A question up to its key, which stands last and only needs to be padded."""
    item = Element(bytes(width)).packed()
    body = _target(table, name) + attribute(nft.ELEMENTS, item, nested=True)
    question = _message(nft.GET_ELEMENT, 0, body)
    return question[: len(question) - width - -width % 4]


def get_all(table: str, name: str) -> bytes:
    """Ask for all elements of a set; for those of few alone."""
    return _message(nft.GET_ELEMENT, DUMP, _target(table, name))


def keys_of(answer: bytes) -> list[bytes]:
    """The keys in an answer to `get_all`."""
    listed = each_attribute(nft.parts(answer).get(nft.ELEMENTS, b""))
    elements = (attributes(one) for _, one in listed)
    return [_key(element) for element in elements]


def remaining(answer: bytes) -> float | None:
    """Seconds until an answer's element expires; None if it never does."""
    expiration = _element(answer).get(nft.ELEMENT_EXPIRATION)
    return int.from_bytes(expiration, "big") / 1000 if expiration else None


def key_of(answer: bytes) -> bytes:
    """The key of the element in an answer to `get`."""
    return _key(_element(answer))


def _key(element: dict[int, memoryview]) -> bytes:
    return bytes(attributes(element[nft.ELEMENT_KEY])[nft.DATA_VALUE])


def _element(answer: bytes) -> dict[int, memoryview]:
    """The attributes of the one element in an answer."""
    listed = attributes(nft.parts(answer)[nft.ELEMENTS])
    return attributes(listed[nft.LIST_ELEMENT])


def add_intervals(table: str, name: str, bounds: Bounds) -> list[Change]:
    """Add intervals to a set that has nothing there."""
    return _interval_lists(nft.NEW_ELEMENT, CREATE, table, name, bounds)


def delete_intervals(table: str, name: str, bounds: Bounds) -> list[Change]:
    """Delete intervals that a set has, end for end."""
    return _interval_lists(nft.DELETE_ELEMENT, 0, table, name, bounds)


def add_jumps(
    table: str, name: str, firsts: Rows, chains: Sequence[str]
) -> list[Change]:
    """Share the address space out over chains, each from an address to the next one's.

    They are few. The first begins at zero, the last goes to the end of the space.
    """
    batch = b""
    for number, (first, chain) in enumerate(zip(firsts, chains, strict=True)):
        key = attribute(nft.DATA_VALUE, first.tobytes())
        if number:
            end = attribute(nft.ELEMENT_KEY, key, nested=True)
            end += attribute(nft.ELEMENT_FLAGS, struct.pack(">I", nft.INTERVAL_END))
            batch += attribute(nft.LIST_ELEMENT, end, nested=True)
        verdict = attribute(nft.VERDICT_CODE, struct.pack(">i", nft.JUMP))
        verdict += attribute(nft.VERDICT_CHAIN, chain.encode() + b"\0")
        data = attribute(nft.DATA_VERDICT, verdict, nested=True)
        parts = attribute(nft.ELEMENT_KEY, key, nested=True)
        parts += attribute(nft.ELEMENT_DATA, data, nested=True)
        batch += attribute(nft.LIST_ELEMENT, parts, nested=True)
    return [_list_message(nft.NEW_ELEMENT, CREATE, table, name, batch)]


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
    yield "start_head", (_start_size(width), nft.LIST_ELEMENT | NESTED)
    yield "start_key", (key, nft.ELEMENT_KEY | NESTED)
    yield "start_value", (value, nft.DATA_VALUE)
    yield "end_head", (_end_size(width), nft.LIST_ELEMENT | NESTED)
    yield "flags_head", (8, nft.ELEMENT_FLAGS)
    yield "flags", nft.INTERVAL_END
    yield "end_key", (key, nft.ELEMENT_KEY | NESTED)
    yield "end_value", (value, nft.DATA_VALUE)


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
    body = _target(table, name) + attribute(nft.ELEMENTS, items, nested=True)
    return Change(_message(kind, flags, body), f"elements of {name}")


def _target(table: str, name: str) -> bytes:
    return attribute(nft.ELEMENTS_TABLE, table.encode() + b"\0") + attribute(
        nft.ELEMENTS_SET, name.encode() + b"\0"
    )


def _message(kind: int, flags: int, body: bytes) -> bytes:
    family = nft.FAMILY_HEADER.pack(nft.NETDEV, 0, 0)
    return message(nft.SUBSYSTEM | kind, flags, family + body)
