# SPDX-License-Identifier: GPL-2.0-or-later
"""What people ask of a registry: an address, a prefix, or a registration by its id.

Knows how a question is written and what a registry answers, fit for JSON; does not know
which registry it is. It is about who is registered, and about nobody's traffic: nothing
here could tell whether an address has a tunnel.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from vpngate.packets import format_address, parse_address
from vpngate.prefixes.intervals import Intervals
from vpngate.prefixes.prefix import Prefix, parse_prefix
from vpngate.registry.registration import Registration
from vpngate.registry.registry import FirstFound, Registry
from vpngate.timekeeping.moments import When, format_moment, span_of

MOST = 1000  # registrations in an answer
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_MAPPED = bytes(10) + b"\xff\xff"  # RFC 4291, 2.5.5.2: it is the IPv4 address


class RegistryQuestion(NamedTuple):
    """What was asked, of one kind: the others are None."""

    address: bytes | None = None
    prefix: Prefix | None = None
    id: str | None = None


def question(text: str) -> RegistryQuestion:
    """What a text asks about; ValueError if it is neither of the three.

    `::ffff:192.0.2.1` is the IPv4 address. What could be an address and an id is the
    address.
    """
    if "/" in text:
        return RegistryQuestion(prefix=parse_prefix(text))
    try:
        packed = parse_address(text)
    except ValueError:
        if _ID.fullmatch(text) is None:
            raise ValueError(
                "is not an IPv4 or IPv6 address, a prefix, or a registration's id"
            ) from None
        return RegistryQuestion(id=text)
    return RegistryQuestion(address=packed.removeprefix(_MAPPED))


def answer(
    registry: Registry,
    asked: RegistryQuestion,
    now: When,
    protected: Intervals | None = None,
    most: int = MOST,
) -> dict[str, Any]:
    """What a registry says of it at a moment; at most so many registrations by name.

    `protected` is whom the configuration never slows, None where there is none to ask.
    """
    if asked.address is not None:
        return _of_address(registry, asked.address, now, protected)
    if asked.prefix is not None:
        return _of_prefix(registry, asked.prefix, now, protected, most)
    found = registry.called(asked.id or "", now, most)
    return {"id": asked.id, "registered": found.stands, **_told(found, now)}


def _of_address(
    registry: Registry, address: bytes, now: When, protected: Intervals | None
) -> dict[str, Any]:
    found = registry.lookup(address, now)
    return {
        "address": format_address(address),
        "registered": found is not None,
        "registration": found and found.id,
        "prefix": found and found.prefix,
        "tunnels": list(found.tunnels) if found else None,
        "valid_from": found and _moment(found.valid_from),
        "valid_until": found and _moment(found.valid_until),
        "in_grace": found and found.in_grace,
        "stands_until": found and _moment(found.stands_until),
        "protected": None if protected is None else protected.contains(address),
    }


def _of_prefix(
    registry: Registry,
    prefix: Prefix,
    now: When,
    protected: Intervals | None,
    most: int,
) -> dict[str, Any]:
    extent = "all"
    around = registry.matches(prefix.network, now)
    if not any(e.length <= prefix.length and _stands(e, now) for e in around):
        extent = _extent(prefix, registry.covered_within(prefix, now))
    return {
        "prefix": str(prefix),
        "registered": extent == "all",
        "covered": extent,
        "protected": None if protected is None else _extent(prefix, protected),
        **_told(registry.touching(prefix, now, most), now),
    }


def _told(found: FirstFound, now: When) -> dict[str, Any]:
    return {
        "registrations": [_listed(each, now) for each in found.first],
        "more": found.total - len(found.first),
    }


def _extent(prefix: Prefix, by: Intervals) -> str:
    """How much of a prefix belongs to a set of addresses."""
    whole = Intervals.of_prefixes([str(prefix)])
    if by.covers(whole):
        return "all"
    left = whole.difference(by).addresses[prefix.family]
    return "part" if left < whole.addresses[prefix.family] else "none"


def _listed(found: Registration, now: When) -> dict[str, Any]:
    return {
        "registration": found.id,
        "prefix": found.prefix,
        "tunnels": list(found.tunnels),
        "state": state_of(found, now),
        "valid_from": _moment(found.valid_from),
        "valid_until": _moment(found.valid_until),
        "stands_until": _moment(found.stands_until),
    }


def state_of(found: Registration, now: When) -> str:
    """Whether a registration counts: in force, in grace, not yet, or no longer."""
    if not _has_begun(found, now):
        return "not yet"
    if not _stands(found, now):
        return "ended"
    return "in grace" if found.in_grace else "in force"


def _stands(found: Registration, now: When) -> bool:
    until = found.stands_until
    return _has_begun(found, now) and (until is None or until > span_of(now).earliest)


def _has_begun(found: Registration, now: When) -> bool:
    return found.valid_from is None or found.valid_from <= span_of(now).latest


def _moment(seconds: float | None) -> str | None:
    return None if seconds is None else format_moment(seconds)


def questions(texts: Iterable[str]) -> Iterator[RegistryQuestion]:
    """Several; ValueError names the one that is none."""
    for text in texts:
        try:
            yield question(text)
        except ValueError as error:
            raise ValueError(f"{text}: {error}") from None
