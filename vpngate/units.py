# SPDX-License-Identifier: GPL-2.0-or-later
"""Quantities as people write them: `5mbit`, `72h`, `5%`.

Knows units and their spelling, both ways; does not know which key of which file
holds which quantity. Every parser raises ValueError with a text that says what
would have been right.
"""

import math
import re

# Rates as tc(8) writes them: decimal multiples of bits a second.
_RATE_UNITS = {"bit": 1, "kbit": 10**3, "mbit": 10**6, "gbit": 10**9}
_DURATION_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z%]+)", re.ASCII)


def _split(text: str, units: dict[str, float] | dict[str, int], example: str) -> float:
    match = _QUANTITY.fullmatch(text.strip().lower())
    if match is None or match[2] not in units:
        choices = ", ".join(units)
        raise ValueError(
            f"{text!r} is not a number and a unit ({choices}), like {example}"
        )
    quantity = float(match[1]) * units[match[2]]
    if math.isinf(quantity):
        raise ValueError("the number is too large to be meant")
    return quantity


def parse_rate(text: str) -> int:
    """Bits per second from `512kbit`, `5mbit`, `1.5gbit`."""
    return round(_split(text, _RATE_UNITS, "5mbit"))


def format_rate(bits_per_second: int) -> str:
    """The shortest exact spelling of a rate; the inverse of `parse_rate`."""
    for unit, factor in reversed(_RATE_UNITS.items()):
        if bits_per_second >= factor and bits_per_second % factor == 0:
            return f"{bits_per_second // factor}{unit}"
    return f"{bits_per_second}bit"


def parse_duration(text: str) -> float:
    """Seconds from `500ms`, `30s`, `10m`, `72h`, `7d`."""
    return _split(text, _DURATION_UNITS, "72h")


def format_duration(seconds: float) -> str:
    """The shortest exact spelling of a duration; the inverse of `parse_duration`."""
    for unit, factor in reversed(_DURATION_UNITS.items()):
        if seconds >= factor and (seconds / factor).is_integer():
            return f"{int(seconds / factor)}{unit}"
    return f"{round(seconds * 1000)}ms" if seconds else "0s"


def parse_share(text: str) -> float:
    """A share between 0 and 1 from `5%`."""
    percent = _split(text, {"%": 1}, "5%")
    if percent > 100:  # noqa: PLR2004 - a hundred of a hundred
        raise ValueError(f"{text!r} is more than 100%")
    return percent / 100
