# SPDX-License-Identifier: GPL-2.0-or-later
"""The chains that slow flows which have a verdict, and the sets they ask.

Knows the order that keeps the promise: verdict, armed, spared, and only then
anything that changes a packet; does not know how packets earn a verdict.
"""

from collections.abc import Iterator, Sequence
from itertools import product

from vpngate.expressions import (
    Compare,
    CompareOp,
    DynamicSet,
    Forward,
    Immediate,
    Lookup,
    Meta,
    MetaKey,
    NamedCounter,
    Rule,
    SetMeta,
    SetOperation,
)
from vpngate.packets import Direction, Family
from vpngate.recognition import Carrier
from vpngate.ruleset import matching, names, registered
from vpngate.ruleset.table import (
    Chain,
    DataType,
    Line,
    Nature,
    Set,
    address_type,
)
from vpngate.signatures.nft_conditions import compare_fields

# How long a verdict lives when the kernel (before 6.12) forgets an element's own
# time at its first refresh. The longest any tunnel asks for.
LONGEST_IDLE = 600.0

_NO_CLASS = bytes(4)
_NO_DEVICE = bytes(4)
_DEVICE = matching.VALUE + 1  # the register behind the class's
_UNFOUND = _DEVICE + 1  # and what a verdict that is not there would be made of


def armed_set(deadman: float) -> Set:
    """The dead man's switch: while it holds a packet's protocol, we throttle."""
    return Set(
        names.ARMED,
        (DataType.ETHER_TYPE,),
        Nature.DYNAMIC,  # a rule throws it, too (`witnessing.py`)
        "dead man's switch: nothing is throttled unless the daemon keeps renewing this",
        timeout=deadman,
    )


def protected_sets() -> tuple[Set, ...]:
    """The few addresses that are never throttled, whatever the registry says.

    They have sets of their own, so that no change of the registry stands before them.
    """
    kinds = (
        (names.protected_set, "protected addresses and our own: never throttled"),
        (names.watched_set, "those of them that are so for some seconds"),
    )
    return tuple(
        Set(name(family), (address_type(family),), Nature.INTERVALS, comment)
        for name, comment in kinds
        for family in Family
    )


def verdict_maps(carriers: Sequence[Carrier], max_flows: int) -> Iterator[Set]:
    """From a flow to the class of its subscriber's bucket, and the ifb of that."""
    for direction, family, carrier in product(Direction, Family, carriers):
        transport = carrier.transport
        address = address_type(family)
        ports = (DataType.MARK,) if transport.has_ports else ()
        what = "source . destination"
        if ports:
            what += " . source port, destination port in hex"
        yield Set(
            names.verdict_map(direction, family, transport),
            (address, address, *ports),
            Nature.DYNAMIC,
            f"unregistered tunnels, {direction}: {what} : HTB class . ifb",
            value=(DataType.CLASSID, DataType.IFINDEX),
            timeout=LONGEST_IDLE,
            size=max_flows,
        )


def verdict_line(direction: Direction, family: Family, carrier: Carrier) -> Line:
    """All that ordinary traffic pays for verdicts: one look-up.

    It may stand only where packets of that family and transport come.
    """
    return Line(
        (
            *compare_fields(carrier.fields, 0),
            *matching.flow(family, carrier.transport),
            Lookup(
                names.verdict_map(direction, family, carrier.transport),
                matching.KEY,
                matching.VALUE,
            ),
            Compare(_NO_CLASS, CompareOp.NEQ, matching.VALUE),
            matching.goto(names.throttle(direction, family)),
        ),
        f"is this {carrier.transport.label} flow an unregistered tunnel?",
    )


def throttle_chains(
    direction: Direction,
    carriers: Sequence[Carrier],
    *,
    watching: tuple[Line, ...],
) -> Iterator[Chain]:
    """What happens to a packet whose flow has a verdict.

    The verdict names the ifb that it goes to, from either hook: the ifb hands it back
    behind the hook that it came from. `watching` gives lines that look at it before it
    is slowed, and change nothing.
    """
    for family in Family:
        yield Chain(
            names.throttle(direction, family),
            (
                Line(
                    (
                        Meta(MetaKey.PROTOCOL),
                        Lookup(names.ARMED, inverted=True),
                        matching.ACCEPT,
                    ),
                    "the daemon is silent or has not started: leave alone",
                ),
                *_spared_lines(family),
                *watching,
                *(
                    Line(
                        _slow(direction, family, carrier),
                        f"slow {carrier.transport.label} where its verdict says",
                    )
                    for carrier in carriers
                ),
            ),
        )


def _spared_lines(family: Family) -> Iterator[Line]:
    for end, load in (
        ("source", matching.source(family)),
        ("destination", matching.destination(family)),
    ):
        yield Line(
            (
                load,
                Lookup(names.protected_set(family), matching.KEY),
                NamedCounter(names.spared_counter(family)),
                matching.ACCEPT,
            ),
            f"protected {end}: leave alone",
        )
    yield Line(
        (matching.jump(registered.entrance(registered.Use.THROTTLE, family)),),
        "registered ends: leave alone",
    )


def _slow(direction: Direction, family: Family, carrier: Carrier) -> Rule:
    """Refresh, count, and last of all touch the packet and send it off."""
    verdicts = names.verdict_map(direction, family, carrier.transport)
    has_header = carrier.transport.has_ports or carrier.fields
    return (
        *(matching.no_later_fragment(family) if has_header else ()),
        *matching.of_carrier(carrier),
        *matching.flow(family, carrier.transport),
        # Overwritten by what is found. Without it nft does not know what `fwd` reads,
        # and lists the table with an error; so it prints `fwd to 0`.
        Immediate(_NO_DEVICE, _DEVICE),
        Lookup(verdicts, matching.KEY, matching.VALUE),
        *_refresh(verdicts),
        NamedCounter(names.throttled_counter(direction)),
        SetMeta(MetaKey.PRIORITY, matching.VALUE),
        Forward(_DEVICE),
    )


def _refresh(verdicts: str) -> Rule:
    """Start the verdict's time anew.

    The value given here is for an element that is not there, and the packet has just
    found it: only one deleted this very moment would be made again. It would then
    lead to no class on no ifb, which counts as no verdict.
    """
    return (
        # One by one: a constant of two types nft (1.0.6 of Debian 12) cannot print.
        Immediate(_NO_CLASS, _UNFOUND),
        Immediate(_NO_DEVICE, _UNFOUND + 1),
        DynamicSet(verdicts, SetOperation.UPDATE, matching.KEY, _UNFOUND),
    )
