# SPDX-License-Identifier: GPL-2.0-or-later
"""Many signatures as one decision tree of nftables conditions.

Knows what signatures have in common, so that a packet of ordinary traffic is done
with after a few comparisons instead of all of them; does not know chains: whoever
builds the table makes one of each branch that leads to branches. The order of the
signatures is kept, but those that ask for a port come last.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, takewhile

from vpngate.expressions import Rule
from vpngate.packets import Transport
from vpngate.signatures.declaration import MAX_OFFSET, Shape, Signature
from vpngate.signatures.headers import TCP_USUAL_HEADERS, UDP_LENGTH_AT
from vpngate.signatures.nft_conditions import (
    UNFRAGMENTED,
    WORD,
    Word,
    common_of_lengths,
    common_of_ports,
    compare_fields,
    compare_word,
    header_conditions,
    length_conditions,
    port_condition,
    unusual_header,
)

# With fewer leaves than this their own conditions cost no more than one before them.
_WORTH_A_BRANCH = 3
# Bits that signatures have to share before they are asked for ahead of them: of random
# payloads 1 in 16 goes further, and has one jump and one condition more to pay.
_WORTH_A_GATE = 4
# Bits of a length that differ between the packets of a network.
_LONGEST = 0x07FF
# What a branch asks that lets no fragment pass.
WHOLE = "whole"
# What it asks of one end's port, before it is known which port it is.
ENDS = ("source", "destination")
_Known = tuple[Word, ...]  # what has been compared on the way
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
    _hash: int = dataclasses.field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        own = hash((self.condition, self.then, self.asks))
        object.__setattr__(self, "_hash", own)

    def __hash__(self) -> int:
        """As it was when it was made: a whole tree is behind it."""
        return self._hash


def decision(signatures: Sequence[Signature]) -> tuple[Branch, ...]:
    """The tree for signatures of one transport.

    It may stand only behind the transport's `nft_conditions.entrance`.
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
    gate = _gate(signatures, start) if len(signatures) > 1 else None
    known = (gate,) if gate else ()
    branches = (
        *_by_likeness([one for one in signatures if not one.ports], start, known),
        *_by_port(signatures, start, known),
    )
    return _behind(compare_word(gate), branches, _COMMON) if gate else branches


def _by_likeness(
    signatures: Sequence[Signature], start: int, known: _Known
) -> Iterator[Branch]:
    """Neighbours that are alike stand together, behind what they share."""
    alike: list[Signature] = []
    for signature in signatures:
        if alike and not _gate((*alike, signature), start):
            yield from _together(alike, start, known)
            alike = []
        alike.append(signature)
    if alike:
        yield from _together(alike, start, known)


def _together(
    alike: Sequence[Signature], start: int, known: _Known
) -> tuple[Branch, ...]:
    def behind(what: _Known) -> tuple[Branch, ...]:
        branches = (_by_signature(signature, start, what) for signature in alike)
        return tuple(chain.from_iterable(branches))

    gate = _gate(alike, start, known) if len(alike) > 1 else None
    every = behind((*known, gate) if gate else known)
    if gate is None:
        return every
    if len(every) < _WORTH_A_BRANCH:
        return behind(known)
    return _behind(compare_word(gate), every, _shared_name(alike))


def _shared_name(alike: Sequence[Signature]) -> str:
    """The words that their names begin with."""
    words = [signature.name.split("_") for signature in alike]
    same = takewhile(lambda each: len(set(each)) == 1, zip(*words, strict=False))
    return "_".join(each[0] for each in same) or _COMMON


def _gate(
    signatures: Sequence[Signature], start: int, known: _Known = ()
) -> Word | None:
    """What they share, if it turns enough away that came through what is known."""
    shapes = [shape for signature in signatures for shape in signature.shapes]
    words = _words(shapes, start)
    best = max(words, key=lambda word: _gain(word, known), default=None)
    if best is None or _gain(best, known) < _WORTH_A_GATE:
        return None
    return best


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


def _by_port(
    signatures: Sequence[Signature], start: int, known: _Known
) -> Iterator[Branch]:
    """Those that ask for a port, an end after the other."""
    groups: dict[tuple[int, int], list[Signature]] = {}
    for signature in signatures:
        for ports in signature.port_ranges:
            groups.setdefault(ports, []).append(signature)
    behind = {
        ports: tuple(
            chain.from_iterable(_by_signature(one, start, known) for one in group)
        )
        for ports, group in groups.items()
    }
    for end, name in enumerate(ENDS):
        branches = tuple(
            branch
            for ports, every in behind.items()
            for branch in _behind(port_condition(end, ports), every, _port_name(ports))
        )
        common = common_of_ports(end, tuple(groups))
        if common and common.bits >= _WORTH_A_GATE and len(groups) > 1:
            yield from _behind(compare_word(common), branches, name)
        else:
            yield from branches


def _port_name(ports: tuple[int, int]) -> str:
    """What a condition on ports asks, whichever end's port it is."""
    low, high = ports
    return f"port{low}" if low == high else f"ports{low}_to_{high}"


def _by_signature(
    signature: Signature, start: int, known: _Known
) -> tuple[Branch, ...]:
    name = signature.name
    leaves = tuple(
        branch
        for shape in signature.shapes
        for length in length_conditions(shape)
        for branch in _behind(
            (*length, *compare_fields(shape.fields, start)), _admitted(signature), name
        )
    )
    gate = _gate((signature,), start, known)
    if gate is None or len(leaves) < _WORTH_A_BRANCH:
        return leaves
    return _behind(compare_word(gate), leaves, name)


def _admitted(signature: Signature) -> tuple[Branch, ...]:
    """Returns the match, for whole packets alone or for first fragments, too.

    This is asked last: nearly all packets are whole, but few of them come this far.
    """
    if signature.fragments:
        return (Branch((), signature, ""),)
    return tuple(Branch(whole, signature, WHOLE) for whole in UNFRAGMENTED)


def _words(shapes: Sequence[Shape], start: int) -> Iterator[Word]:
    """What holds wherever one of the shapes fits, in words that are loaded fast.

    Bytes that not every shape has are not loaded: the rule would end there.
    """
    lengths = [length for shape in shapes for length in shape.udp_lengths]
    if all(shape.lengths for shape in shapes) and (word := common_of_lengths(lengths)):
        yield word
    shared = functools.reduce(_shared, map(_fixed, shapes))
    reach = min(max((f.end for f in shape.fields), default=0) for shape in shapes)
    for at in range(-start % WORD, min(reach - WORD, MAX_OFFSET) + 1, WORD):
        pairs = [shared.get(at + n, (0, 0)) for n in range(WORD)]
        yield Word(start + at, *map(bytes, zip(*pairs, strict=True)))


def _gain(word: Word, known: _Known) -> int:
    """How many bits it compares that may be anything: what is known may not be."""
    compared = 0
    if word.at == UDP_LENGTH_AT:
        compared = ~(_LONGEST << 16)
    for other in known:
        if other.at == word.at:
            compared |= int.from_bytes(other.mask)
    return (int.from_bytes(word.mask) & ~compared).bit_count()


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
