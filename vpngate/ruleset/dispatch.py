# SPDX-License-Identifier: GPL-2.0-or-later
"""Which chain a packet is looked at in: one for each transport and family.

Knows that both are asked for once, what is most of the traffic first, and that what
follows is the verdict, and behind it the signatures, in the same chain; does not know
what either of them asks.
"""

from collections.abc import Iterator, Mapping
from itertools import product

from vpngate.expressions import Base, Compare, NamedCounter, Payload
from vpngate.packets import Direction, Family, HookPoint, Transport
from vpngate.ruleset import Ruleset, matching, names, throttling
from vpngate.ruleset.table import Chain, Line
from vpngate.signatures.nft_conditions import entrance

# Of a transport, what asks for its signatures.
Searches = Mapping[Transport, tuple[Line, ...]]

# RFC 791, section 3.1. The kernel compares a byte of the packet four times as fast as
# it tells a transport. A chain that asks for ports needs no more: they are not loaded
# from a header that the kernel finds unsound.
_IPV4_PROTOCOL = Payload(Base.NETWORK, 9, 1)


def base_lines(
    direction: Direction, point: HookPoint, ruleset: Ruleset
) -> Iterator[Line]:
    """What every packet at that hook goes through."""
    yield Line(
        (NamedCounter(names.traffic_counter(direction)),),
        f"{direction}: everything",
    )
    if not ruleset.enforce:
        for transport in _transports(ruleset):
            yield _to(names.transport_candidates(point, transport), transport)
        return
    for transport in _transports(ruleset):
        if transport.has_ports:
            yield Line(
                (
                    *(_IPV4_PROTOCOL, Compare(bytes([transport]))),
                    *matching.of_family(Family.IPV4),
                    matching.goto(names.flows(point, transport, Family.IPV4)),
                ),
                f"{direction}: {transport.label} over {Family.IPV4.label}",
            )
    for family in Family:
        yield Line(
            (
                *matching.of_family(family),
                matching.goto(names.of_family(point, family)),
            ),
            f"{direction}: {_rest(family)}",
        )


def flow_chains(
    direction: Direction, point: HookPoint, ruleset: Ruleset, searches: Searches
) -> Iterator[Chain]:
    """The chains behind, if enforcing: they are made before the base chain."""
    verdicts = dict(verdict_lines(direction, point, ruleset))
    transports = _transports(ruleset)
    for family in Family:
        for transport in transports:
            name = names.flows(point, transport, family)
            first = (verdicts[name],) if name in verdicts else ()
            yield Chain(name, (*first, *searches.get(transport, ())))
        yield Chain(
            names.of_family(point, family),
            tuple(
                _to(names.flows(point, transport, family), transport)
                for transport in transports
                if family is not Family.IPV4 or not transport.has_ports
            ),
        )


def verdict_lines(
    direction: Direction, point: HookPoint, ruleset: Ruleset
) -> Iterator[tuple[str, Line]]:
    """By the name of its chain, the line that asks for a verdict: the first one there.

    While no verdict lives, the chain does the same without it.
    """
    for family, carrier in product(Family, ruleset.carriers):
        line = throttling.verdict_line(direction, family, carrier)
        yield names.flows(point, carrier.transport, family), line


def _transports(ruleset: Ruleset) -> list[Transport]:
    """All that have a signature or, if enforcing, verdicts."""
    found = {signature.transport for signature in ruleset.signatures}
    if ruleset.enforce:
        found |= {carrier.transport for carrier in ruleset.carriers}
    return sorted(found)


def _to(chain: str, transport: Transport) -> Line:
    return Line((*entrance(transport), matching.goto(chain)), transport.label)


def _rest(family: Family) -> str:
    return "other IPv4" if family is Family.IPV4 else "IPv6"
