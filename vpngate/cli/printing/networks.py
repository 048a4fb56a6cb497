# SPDX-License-Identifier: GPL-2.0-or-later
"""Addresses as people count and name them: by prefix, as netaddr has them.

Knows how many of them a line holds; does not know whose they are.
"""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from netaddr import IPAddress, IPNetwork, iprange_to_cidrs

from vpngate.packets import Family
from vpngate.prefixes.intervals import Intervals

_NAMED = 20  # prefixes in a line; netaddr takes its time for each
_NAMED_TO_PROGRAMS = 1000
_VERSION = {Family.IPV4: 4, Family.IPV6: 6}


def networks(covered: Intervals) -> Iterator[IPNetwork]:
    """The fewest prefixes that hold these addresses and no other, in their order."""
    for family in Family:
        bounds = covered.of(family)
        for first, last in zip(bounds.first, bounds.last, strict=True):
            ends = (
                IPAddress(int.from_bytes(end.tobytes(), "big"), _VERSION[family])
                for end in (first, last)
            )
            yield from iprange_to_cidrs(*ends)


def counted(addresses: Mapping[Family, int]) -> str:
    """Addresses by family: of IPv6, networks of a subscriber's usual size."""
    found = _slash64(addresses)
    spelled = f"{found:.0f}" if found.is_integer() else f"{found:.3g}"
    return f"{addresses[Family.IPV4]} ipv4 addresses and {spelled} ipv6 /64"


def named(covered: Intervals) -> str:
    """The first of the prefixes that hold these addresses; "" for none."""
    texts = [str(each) for each in islice(networks(covered), _NAMED + 1)]
    if len(texts) > _NAMED:
        texts[-1] = "..."
    return ", ".join(texts)


def fit_for_json(covered: Intervals) -> dict[str, Any]:
    """How many there are, and the first of the prefixes that hold them."""
    addresses = covered.addresses
    return {
        "ipv4_addresses": addresses[Family.IPV4],
        "ipv6_slash64": _slash64(addresses),
        "prefixes": [
            str(each) for each in islice(networks(covered), _NAMED_TO_PROGRAMS)
        ],
    }


def _slash64(addresses: Mapping[Family, int]) -> float:
    return addresses[Family.IPV6] / 2**64
