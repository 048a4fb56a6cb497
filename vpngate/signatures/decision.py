# SPDX-License-Identifier: GPL-2.0-or-later
"""Many signatures as one decision tree of nftables conditions.

Knows what signatures have in common, so that a packet of ordinary traffic is done
with after a few comparisons instead of all of them; does not know chains: whoever
builds the table makes one of each branch that leads to branches. The order of the
signatures is kept, but those that ask for a port come last.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from vpngate.expressions import Compare, Range, Rule
from vpngate.packets import Transport
from vpngate.signatures.declaration import MAX_VALUE, Field, Shape, Signature
from vpngate.signatures.headers import TCP_USUAL_HEADERS
from vpngate.signatures.nft_conditions import (
    UNFRAGMENTED,
    compare_fast,
    compare_fields,
    header_conditions,
    length_conditions,
    port_conditions,
    unusual_header,
)

# With fewer leaves than this their own conditions cost no more than one before them.
_WORTH_A_BRANCH = 3
# Bits that all signatures of a transport have to share before they are asked for
# ahead of all: of random payloads 1 in 256 goes further.
_WORTH_A_GATE = 8
# What a branch asks that lets no fragment pass.
WHOLE = "whole"
_COMMON = "common"  # what all signatures share: said only where nothing else is


@dataclass(frozen=True, slots=True)
class Branch:
    """A condition, and behind it more of them, or the signature that is matched.

    More than one branch may hold; all have to be tried, in order, until one of them
    decides what becomes of the packet. `asks` says what the condition is about, in
    words that names can be made of: [a-z0-9_].
    """

    condition: Rule
    then: "tuple[Branch, ...] | Signature"
    asks: str


def decision(signatures: Sequence[Signature]) -> tuple[Branch, ...]:
    """The tree for signatures of one transport.

    It may stand only behind one of the transport's `nft_conditions.entrances`.
    """
    transports = {signature.transport for signature in signatures}
    return tuple(
        branch
        for transport in transports
        for branch in _by_header(
            transport, lambda start: _behind_gate(signatures, start)
        )
    )


def _by_header(
    transport: Transport, behind: Callable[[int], tuple[Branch, ...]]
) -> tuple[Branch, ...]:
    """Returns a branch for each header size; unusual sizes share the last one."""
    found = [
        _behind(condition, behind(start), f"header{start}")
        for condition, start in header_conditions(transport)
    ]
    usual = tuple(chain.from_iterable(found[: len(TCP_USUAL_HEADERS)]))
    unusual = tuple(chain.from_iterable(found[len(TCP_USUAL_HEADERS) :]))
    if not unusual:
        return usual
    return (*usual, *_behind(unusual_header(), unusual, "unusual"))


def _behind_gate(signatures: Sequence[Signature], start: int) -> tuple[Branch, ...]:
    """Returns all signatures behind a test of what they share, if that is worth it."""
    branches = tuple(_by_port(signatures, start))
    shapes = [shape for signature in signatures for shape in signature.shapes]
    common = _in_common(shapes)
    if common is None or len(signatures) == 1 or _bits(common) < _WORTH_A_GATE:
        return branches
    return _behind(_fast(common, shapes, start), branches, _COMMON)


def _behind(
    condition: Rule, branches: tuple[Branch, ...], asks: str
) -> tuple[Branch, ...]:
    """The branches behind a condition, if there is one."""
    if not condition:
        return branches
    if len(branches) == 1:
        (only,) = branches
        said = [one for one in (asks, only.asks) if one not in ("", _COMMON)]
        both = "_".join(dict.fromkeys(said)) or _COMMON
        return (Branch((*condition, *only.condition), only.then, both),)
    return (Branch(condition, branches, asks),)


def _by_port(signatures: Sequence[Signature], start: int) -> Iterator[Branch]:
    groups: dict[Rule, list[Signature]] = {(): []}
    for signature in signatures:
        for ports in port_conditions(signature):
            groups.setdefault(ports, []).append(signature)
    for ports, group in groups.items():
        branches = (_by_signature(signature, start) for signature in group)
        if group:
            every = tuple(chain.from_iterable(branches))
            yield from _behind(ports, every, _port_name(ports))


def _port_name(ports: Rule) -> str:
    """What a condition on ports asks, whichever end's port it is."""
    match ports:
        case (_, Compare(value)):
            return f"port{int.from_bytes(value)}"
        case (_, Range(low, high)):
            return f"ports{int.from_bytes(low)}_to_{int.from_bytes(high)}"
    return ""


def _by_signature(signature: Signature, start: int) -> tuple[Branch, ...]:
    name = signature.name
    leaves = tuple(
        Branch((*length, *compare_fields(shape.fields, start)), signature, name)
        for shape in signature.shapes
        for length in length_conditions(shape)
    )
    common = _in_common(signature.shapes)
    if common is None or len(leaves) < _WORTH_A_BRANCH:
        return tuple(
            branch
            for leaf in leaves
            for branch in _behind(leaf.condition, _admitted(signature, signature), name)
        )
    condition = _fast(common, signature.shapes, start)
    return _behind(condition, _admitted(signature, leaves), name)


def _admitted(
    signature: Signature, then: "tuple[Branch, ...] | Signature"
) -> tuple[Branch, ...]:
    """Returns what follows, for whole packets alone or for first fragments, too.

    This is asked late: nearly all packets are whole, but few of them come this far.
    """
    if signature.fragments:
        return (Branch((), then, ""),)
    return tuple(Branch(whole, then, WHOLE) for whole in UNFRAGMENTED)


def _fast(common: Field, shapes: Sequence[Shape], start: int) -> Rule:
    reach = min(max(field.end for field in shape.fields) for shape in shapes)
    return tuple(compare_fast(common, start, reach))


def _bits(field: Field) -> int:
    """How many bits it compares."""
    mask = field.mask or b"\xff" * len(field.value)
    return int.from_bytes(mask).bit_count()


def _in_common(shapes: Sequence[Shape]) -> Field | None:
    """Returns the first bytes that have the same value in all shapes, or None."""
    shared = functools.reduce(_shared, map(_fixed, shapes))
    if not shared:
        return None
    start = min(shared)
    run = [shared[start]]
    while (at := start + len(run)) <= max(shared) and len(run) < MAX_VALUE:
        run.append(shared.get(at, (0, 0)))
    while not run[-1][1]:
        run.pop()
    value, mask = (bytes(part) for part in zip(*run, strict=True))
    return Field(start, value, None if mask == b"\xff" * len(mask) else mask)


_Fixed = dict[int, tuple[int, int]]  # by offset, a byte's value and mask


def _shared(one: _Fixed, other: _Fixed) -> _Fixed:
    """Returns the bits that have the same value in both."""
    shared = {}
    for at in one.keys() & other.keys():
        (value, mask), (other_value, other_mask) = one[at], other[at]
        mask &= other_mask & ~(value ^ other_value)
        if mask:
            shared[at] = value & mask, mask
    return shared


def _fixed(shape: Shape) -> _Fixed:
    """The bytes that a shape fixes."""
    fixed = {}
    for field in shape.fields:
        if not field.differs:
            masks = field.mask or b"\xff" * len(field.value)
            pairs = zip(field.value, masks, strict=True)
            fixed.update(dict(enumerate(pairs, start=field.offset)))
    return fixed
