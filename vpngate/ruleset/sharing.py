# SPDX-License-Identifier: GPL-2.0-or-later
"""Who gets how many of the copies: signatures, and addresses among them.

Knows that a first message is worth more than what follows, that no single address may
use up what others need, and that a set without room limits nobody; does not know what
is copied, or how.

An address beyond its share is looked for by `limit rate over` in a set's element: a
rule of that kind goes on only for an address that is in the set and has had its share.
For one that finds no room there it ends, and the signature's own limit stands alone.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from vpngate.expressions import (
    Bitwise,
    DynamicSet,
    Expression,
    Limit,
    NamedCounter,
    Payload,
    Rule,
    SetOperation,
)
from vpngate.packets import Family, HookPoint
from vpngate.ruleset import Ruleset, matching, names
from vpngate.ruleset.table import Chain, Line, Nature, Set, address_type
from vpngate.signatures import Signature

# A first message's share of the copies, in shares of what follows. Whoever has missed
# it can do nothing with the rest; and nobody has to answer for it to come in floods.
_OPENING, _FOLLOWING = 3, 1
# At most one in so many of the smallest share is copied for one subscriber, for any
# other address: a server answers many, behind a NAT many are one.
_OF_A_SUBSCRIBER, _OF_ANYBODY = 8, 2
_LEAST = 20  # packets a second, and at once: handshakes of several messages fit
# Without a packet so long an address is as if it were new: its limit is whole again.
_MEMORY = 5.0  # seconds
_ADDRESSES = 32768
# What one subscriber may choose from (RFC 4291, section 2.5.4: 64 bits of interface).
_MASK = {Family.IPV6: b"\xff" * 8 + bytes(8)}


class _End(NamedTuple):
    """One end of a packet: which, how its address is loaded, what it gets."""

    name: str
    load: Callable[[Family], Payload]
    one_in: int


class CopyShare(NamedTuple):
    """What each address at one end of packets gets: copies a second, and at once."""

    end: str  # source, destination
    rate: int


def shares(point: HookPoint, ruleset: Ruleset) -> list[CopyShare]:
    """The ends whose copies are limited at a hook, in the order they are asked."""
    ends = _ends(point, ruleset)
    return [CopyShare(end.name, _rate(end, ruleset)) for end in ends]


def copies(ruleset: Ruleset, signature: Signature) -> Limit:
    """The limit on copies for a signature at one hook."""
    whole = ruleset.packets_per_second / len(HookPoint)
    shares = sum(map(_weight, ruleset.signatures))
    rate = max(1, int(whole * _weight(signature) / shares))
    return Limit(rate, rate)


def address_sets(ruleset: Ruleset) -> Iterator[Set]:
    """The addresses that candidates lately came from, or went to."""
    for point in HookPoint:
        for end in _ends(point, ruleset):
            for family in Family:
                yield Set(
                    names.address_set(point, end.name, family),
                    (address_type(family),),
                    Nature.DYNAMIC,
                    f"the share of the copies that each {end.name} has had",
                    timeout=_MEMORY,
                    size=_ADDRESSES,
                )


def address_chain(point: HookPoint, ruleset: Ruleset) -> Chain:
    """What lets a packet on its way, uncopied, if one of its ends has had its share.

    A subscriber's end is asked first: a flood at one uses up nothing of a server's.
    """
    return Chain(
        names.address_share(point),
        tuple(
            Line(
                (
                    *matching.of_family(family),
                    *_beyond(point, end, family, ruleset),
                    NamedCounter(names.HELD_BACK_BY_ADDRESS),
                    matching.ACCEPT,
                ),
                f"this {end.name} has had its share of the copies",
            )
            for end in _ends(point, ruleset)
            for family in Family
        ),
    )


def _ends(point: HookPoint, ruleset: Ruleset) -> Iterator[_End]:
    """The ends whose copies are limited, at that hook."""
    from_subscribers = ruleset.subscriber_side and point is HookPoint.INGRESS
    if ruleset.subscriber_side and not from_subscribers:
        yield _End("destination", matching.destination, _OF_A_SUBSCRIBER)
    one_in = _OF_A_SUBSCRIBER if from_subscribers else _OF_ANYBODY
    yield _End("source", matching.source, one_in)


def _beyond(point: HookPoint, end: _End, family: Family, ruleset: Ruleset) -> Rule:
    """Go on only for an address that has had its share."""
    rate = _rate(end, ruleset)
    return (
        *_subscriber(family, end.load(family)),
        DynamicSet(
            names.address_set(point, end.name, family),
            SetOperation.UPDATE,
            matching.KEY,
            expressions=(Limit(rate, rate, over=True),),
        ),
    )


def _rate(end: _End, ruleset: Ruleset) -> int:
    smallest = min(copies(ruleset, one).rate for one in ruleset.signatures)
    return max(_LEAST, smallest // end.one_in)


def _subscriber(family: Family, load: Payload) -> Iterator[Expression]:
    """Load an address, or as much of it as one subscriber cannot choose."""
    yield load
    if mask := _MASK.get(family):
        yield Bitwise(mask, bytes(len(mask)), matching.KEY, matching.KEY)


def _weight(signature: Signature) -> int:
    return _OPENING if signature.opens else _FOLLOWING
