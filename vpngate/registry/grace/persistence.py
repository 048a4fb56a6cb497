# SPDX-License-Identifier: GPL-2.0-or-later
"""Those who have left the registry, as text to be kept between two runs.

Knows the form: a line each. Does not know where it is kept, or who has left
(`departures.py`).
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace

from vpngate.prefixes.prefix import parse_prefix
from vpngate.registry.columns.entries import Row, draw_up, rows_of_roll
from vpngate.registry.columns.terms import Terms
from vpngate.registry.reading.row_checks import check_registration, parse_tunnels
from vpngate.registry.registry import Registry


def remember_departed(registry: Registry) -> bytes:
    """Returns the registrations that only earlier loads had, as text to be kept."""
    lines = [
        f"{prefix},{name},{'+'.join(terms.tunnels)},"
        f"{terms.valid_from!r},{terms.valid_until!r},{terms.gone_since!r}\n"
        for prefix, name, terms in rows_of_roll(registry.kept)
    ]
    return "".join(lines).encode()


def recall_departed(registry: Registry, memory: bytes) -> Registry:
    """Returns the registry with those of an earlier run added; ValueError on damage."""
    return replace(registry, kept=draw_up(_recalled(memory.decode().splitlines())))


def _recalled(lines: Iterable[str]) -> Iterator[Row]:
    for line in lines:
        prefix, name, tunnels, since, until, gone = line.split(",")
        check_registration(name)
        moments = float(since), float(until), float(gone)
        if any(map(math.isnan, moments)):
            raise ValueError("a moment that is none")
        terms = Terms(parse_tunnels(tunnels), *moments)
        yield Row(parse_prefix(prefix), name, terms)
