# SPDX-License-Identifier: GPL-2.0-or-later
"""A registry as JSON: the envelope, and a line for each registration.

Knows how a registry is written, so that the same registrations always make the same
bytes, in whatever order they were given; does not know whether anybody takes it
(`guard.py`), who signs it, or where it goes.
"""

import json
from collections.abc import Iterator
from itertools import groupby
from typing import Any

from vpngate.registry.columns.entries import Roll, Row, rows_of_roll
from vpngate.registry.reading.envelope import Envelope
from vpngate.timekeeping.moments import ALWAYS, NEVER, format_moment


def write_registry(roll: Roll, envelope: Envelope) -> Iterator[bytes]:
    """The registry in pieces, UTF-8; what the envelope does not say is left out.

    Registrations stand in the order of the address space, IPv4 first, those of one
    prefix by name; one that is there twice is written once.
    """
    head = {
        "registry": envelope.name,
        "serial": envelope.serial,
        "generated": _moment(envelope.generated),
        "expires": _moment(envelope.expires),
        "sentinels": list(envelope.sentinels) or None,
        "suspend": envelope.suspend or None,
    }
    opening = _object(head).removesuffix("}")
    yield f"{opening}{', ' if opening != '{' else ''}".encode()
    yield b'"registrations": ['
    separator = "\n"
    for row in _in_order(roll):
        yield f"{separator}{_object(_item(row))}".encode()
        separator = ",\n"
    yield b"\n]}\n"


def _in_order(roll: Roll) -> Iterator[Row]:
    for _, rows in groupby(rows_of_roll(roll), lambda row: row.prefix):
        yield from sorted(set(rows))


def _item(row: Row) -> dict[str, Any]:
    since, until = row.terms.valid_from, row.terms.valid_until
    return {
        "prefix": str(row.prefix),
        "registration": row.id,
        "tunnels": list(row.terms.tunnels) or None,
        "valid_from": None if since == ALWAYS else _moment(since),
        "valid_until": None if until == NEVER else _moment(until),
    }


def _object(content: dict[str, Any]) -> str:
    """One line of JSON, without the keys that hold nothing."""
    said = {key: value for key, value in content.items() if value is not None}
    return json.dumps(said, ensure_ascii=False)


def _moment(seconds: float | None) -> str | None:
    return None if seconds is None else format_moment(seconds)
