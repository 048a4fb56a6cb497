# SPDX-License-Identifier: GPL-2.0-or-later
"""What is in the sets when the packet of a case comes, and the table with its sets.

Knows how each state of a case is written into sets and maps; does not know what should
become of the packet.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from itertools import product
from typing import NamedTuple

from tests import rulesets
from tests.unit.ruleset.cases import BESIDE, BESIDE_OTHERS, NOBODY, OTHER_FAMILY, Case
from tests.unit.ruleset.kinds import PORTS, ends_of
from tests.unit.ruleset.walk import Interval, Limited, Walk
from vpngate.expressions import ChainVerdict, Limit
from vpngate.packets import Direction, Family, HookPoint, Transport
from vpngate.ruleset import Ruleset, matching, names, registered
from vpngate.ruleset.composition import compose
from vpngate.ruleset.table import Chain, Table

CLASS, DEVICE = b"\x07\x00\x56\x9e", b"\x05\0\0\0"
SIGNATURES = rulesets.RULESET.signatures  # of every case
PARTS = 3
GENERATION = 1
_SPENT = Limit(1, 1, over=True)


def lay_out(walk: Walk, case: Case) -> None:
    """Put into the sets what the case says, and nothing else."""
    walk.empty()
    walk.lives = case.lives
    walk.spent = case.spent == "by its signature"
    walk.intervals.update(_ways(case.protocol))
    walk.elements[names.ARMED] = dict.fromkeys(_armed(case), b"")
    for name, key, value in _verdicts(case):
        walk.elements.setdefault(name, {})[key] = value
    for name, key in _spent(case):
        walk.sets.setdefault(name, {})[key] = Limited(_SPENT, _SPENT.burst)
    for name, interval in _spared(case):
        walk.intervals.setdefault(name, []).append(interval)


def flow_key(ends: tuple[bytes, bytes], transport: Transport) -> bytes:
    """What a verdict on a packet's flow is found by."""
    return b"".join(ends) + (_ports(PORTS) if transport.has_ports else b"")


def shares(case: Case) -> list[tuple[str, bytes]]:
    """Where a copy is counted, and against whom: elements of sets.

    The source's; before it a subscriber's, if a packet is known to go to one.
    """
    near = case.ruleset.subscriber_side and case.point is HookPoint.EGRESS
    ends = dict(zip(("source", "destination"), case.ends, strict=True))
    asked = ["destination", "source"] if near else ["source"]
    return [
        (names.address_set(case.point, end, case.family), _network(ends[end]))
        for end in asked
    ]


def _armed(case: Case) -> Iterator[bytes]:
    for family in Family:
        which = "its own" if family is case.family else "the other"
        if case.armed in ("both", which):
            yield matching.ETHERTYPE[family]


class _Verdict(NamedTuple):
    """A verdict on flows between these ends, on each of these transports."""

    direction: Direction
    transports: tuple[int, ...]
    ends: tuple[bytes, bytes]
    ports: tuple[int, int] = PORTS
    value: bytes = CLASS + DEVICE


def _verdicts(case: Case) -> Iterator[tuple[str, bytes, bytes]]:
    """Elements of the maps: the map's name, key and value."""
    if case.verdict == "of the other family":
        yield from _misread_verdicts(case)
        return
    for verdict in _imposed(case):
        for carrier in case.ruleset.carriers:
            transport = carrier.transport
            if transport in verdict.transports:
                name = names.verdict_map(verdict.direction, case.family, transport)
                key = b"".join(verdict.ends)
                key += _ports(verdict.ports) if transport.has_ports else b""
                yield name, key, verdict.value


def _imposed(case: Case) -> Iterator[_Verdict]:
    transports = {carrier.transport for carrier in case.ruleset.carriers}
    others = tuple(one for one in transports if one != case.protocol)
    own = _Verdict(case.direction, (case.protocol,), case.ends)
    source, destination = case.ends
    match case.verdict:
        case "none":
            return
        case "of no class":
            yield own._replace(value=bytes(8))
        case "the other way round":
            yield own._replace(ends=case.ends[::-1], ports=PORTS[::-1])
        case "of the other direction":
            (other,) = set(Direction) - {case.direction}
            yield own._replace(direction=other)
        case "of the ports beside it":
            if case.protocol in (Transport.UDP, Transport.TCP):
                yield own._replace(ports=(PORTS[0], PORTS[1] ^ 1))
        case "of the address beside it":
            yield own._replace(ends=(source, _beside(destination)))
        case "of the other transports":
            yield own._replace(transports=others)
        case _:
            yield own
            if case.verdict == BESIDE_OTHERS:
                wrong = CLASS[::-1] + DEVICE
                yield own._replace(transports=others, value=wrong)


def _misread_verdicts(case: Case) -> Iterator[tuple[str, bytes, bytes]]:
    """Verdicts on what this packet's bytes would be in the other family."""
    other = _other(case.family)
    for carrier in case.ruleset.carriers:
        transport = carrier.transport
        key = _misread(case) + (_ports(PORTS) if transport.has_ports else b"")
        name = names.verdict_map(case.direction, other, transport)
        yield name, key, CLASS + DEVICE


def _spent(case: Case) -> Iterator[tuple[str, bytes]]:
    """Elements of the sets that limit copies, of which no more is copied."""
    match case.spent:
        case "by its address":
            yield shares(case)[0]
        case "by its source":
            yield shares(case)[-1]
        case "by the address beside it":
            name, address = shares(case)[0]
            yield name, _beside(address)
        case "by its pair" | "by the pair the other way round":
            own = case.spent == "by its pair"
            pair = b"".join(case.ends if own else case.ends[::-1])
            for signature in SIGNATURES:
                if signature.sampled:
                    yield names.sampled_set(signature.name, case.family), pair


def _spared(case: Case) -> Iterator[tuple[str, Interval]]:
    """Elements of the sets of those who are spared."""
    family = case.family
    end, _, by = case.spared.partition(" ")
    addresses = [case.ends[end == "destination"]]
    if case.spared == NOBODY:
        return
    if case.spared == BESIDE:
        addresses, by = [*map(_beside, case.ends)], "in both"
    elif case.spared == OTHER_FAMILY:
        family, by = _other(family), "in both"
        pair = _misread(case)
        addresses = [pair[: family.width], pair[family.width :]]
    for address in addresses:
        if len(address) < family.width:
            continue  # of a packet that is cut before
        whole = Interval(address, address)
        if by == "in a network":
            whole = Interval(address[:-1] + b"\0", address[:-1] + b"\xff")
        if by in ("protected", "in both"):
            yield names.protected_set(family), whole
        if by != "protected":
            for part in range(PARTS + 1):
                name = names.spared_set(family, GENERATION, part)
                yield name, _cut(case, family, part, whole)


def table_in_parts(ruleset: Ruleset) -> Table:
    """The table whose registered addresses are shared out over several sets."""
    table = compose(ruleset)
    uses = list(product(registered.Use, Family))
    numbers = range(1, PARTS + 1)
    entrances = {
        registered.entrance(*use): registered.entrance_chain(*use, GENERATION, PARTS)
        for use in uses
    }
    parts: list[Chain] = [
        registered.part_chain(*use, GENERATION, part)
        for use, part in product(uses, numbers)
    ]
    sets = [registered.parts_map(*use, GENERATION) for use in uses]
    sets += [
        registered.part_set(family, GENERATION, part)
        for family, part in product(Family, numbers)
    ]
    return replace(
        table,
        sets=(*table.sets, *sets),
        chains=(*parts, *(entrances.get(one.name, one) for one in table.chains)),
    )


@cache
def _ways(protocol: int) -> dict[str, list[Interval]]:
    """The elements of the maps that lead to the parts, by map."""
    return {
        names.parts_map(registered.entrance(use, family), GENERATION): [
            _bounds(family, protocol, part)._replace(leads=_way(use, family, part))
            for part in range(1, PARTS + 1)
        ]
        for use, family in product(registered.Use, Family)
    }


def _way(use: registered.Use, family: Family, part: int) -> ChainVerdict:
    chain = registered.entrance(use, family)
    return matching.jump(names.part(chain, GENERATION, part))


def _bounds(family: Family, protocol: int, part: int) -> Interval:
    """From where to where a part goes; part 0 is all there is.

    The second begins with the lower of the two ends, the third with the higher.
    """
    lower, higher = sorted(ends_of(family, protocol))
    lowest, highest = bytes(family.width), b"\xff" * family.width
    return (
        Interval(lowest, highest),
        Interval(lowest, _before(lower)),
        Interval(lower, _before(higher)),
        Interval(higher, highest),
    )[part]


def _cut(case: Case, family: Family, part: int, whole: Interval) -> Interval:
    """What of an interval is in a part; first behind last if nothing is."""
    bounds = _bounds(family, case.protocol, part)
    return Interval(max(whole.first, bounds.first), min(whole.last, bounds.last))


def _misread(case: Case) -> bytes:
    """The two addresses that the packet would have in the other family."""
    other = _other(case.family)
    at = 12 if other is Family.IPV4 else 8
    return case.kind.frame[14:][at : at + 2 * other.width]


def _other(family: Family) -> Family:
    return Family.IPV6 if family is Family.IPV4 else Family.IPV4


def _network(address: bytes) -> bytes:
    """As much of it as one subscriber cannot choose."""
    return address if len(address) == Family.IPV4.width else address[:8] + bytes(8)


def _ports(ports: tuple[int, int]) -> bytes:
    return b"".join(port.to_bytes(2) for port in ports)


def _before(address: bytes) -> bytes:
    return (int.from_bytes(address) - 1).to_bytes(len(address))


def _beside(address: bytes) -> bytes:
    return (int.from_bytes(address) ^ 1).to_bytes(len(address))
