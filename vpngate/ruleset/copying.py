# SPDX-License-Identifier: GPL-2.0-or-later
"""The chains that copy what looks like a tunnel's handshake to user space.

Knows that a forged source is no evidence and costs nobody a copy, and that a sampled
signature is copied only a few times a pair of addresses; does not know who gets how
many copies (`sharing.py`), or what a signature means.
"""

from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache
from itertools import chain, count

from vpngate.expressions import (
    Compare,
    DynamicSet,
    Limit,
    LogPacket,
    Lookup,
    Meta,
    MetaKey,
    NamedCounter,
    ReversePathCheck,
    SetOperation,
)
from vpngate.packets import Family, HookPoint
from vpngate.ruleset import Ruleset, matching, names, registered, sharing
from vpngate.ruleset.table import Chain, Line, Nature, Set, address_type
from vpngate.signatures import Signature
from vpngate.signatures.decision import ENDS, WHOLE, Branch, decision

# Per pair of addresses and direction: evidence takes three packets each way, seen twice
# between subscribers, and a tunnel whose verdict ended must be seen again before long.
# What is beyond it is not held back by a limit: it looks like what was copied.
SAMPLE = Limit(rate=12, burst=12, seconds=60, over=True)
_SAMPLE_MEMORY = 60.0  # seconds without a packet
_SAMPLED_PAIRS = 65536


_REVERSE_PATH_LINE = Line(
    (
        *(ReversePathCheck(), Compare(bytes(1))),
        NamedCounter(names.REVERSE_PATH_FAILED),
        matching.ACCEPT,
    ),
    "the way back to its source is another: a forgery, no evidence",
)
_REVERSE_PATH_FIRST = (
    Line(
        (matching.jump(names.REVERSE_PATH),),
        "does its source live where it came from?",
    ),
)


def sampled_sets(signatures: Sequence[Signature]) -> Iterator[Set]:
    """One set of address pairs for each sampled signature and family."""
    for signature in signatures:
        if signature.sampled:
            for family in Family:
                address = address_type(family)
                yield Set(
                    names.sampled_set(signature.name, family),
                    (address, address),
                    Nature.DYNAMIC,
                    "copied a few packets a pair of addresses",
                    timeout=_SAMPLE_MEMORY,
                    size=_SAMPLED_PAIRS,
                )


def copy_chains(ruleset: Ruleset) -> Iterator[Chain]:
    """From the copying itself up to the chains that all packets walk, one a hook.

    Each hook has all of it for itself: only at ingress the kernel can be asked for the
    way back to a source, and takes no chain with that question for another hook.
    """
    if ruleset.reverse_path:
        yield Chain(names.REVERSE_PATH, (_REVERSE_PATH_LINE,))
    for point in HookPoint:
        yield from _copies(point, ruleset)
        yield from _candidates(point, ruleset.signatures)


def watching_lines(ruleset: Ruleset, point: HookPoint) -> Iterator[Line]:
    """Copies of what has a verdict by its running traffic, on its way to be slowed.

    One packet that does not fit ends such a verdict, so a few go on being looked at.
    """
    for signature in ruleset.signatures:
        if signature.sampled:
            yield Line(
                (
                    *(Meta(MetaKey.L4PROTO), Compare(bytes([signature.transport]))),
                    matching.jump(names.sample(point, signature.name)),
                ),
                f"{signature.transport.label}: does it still look like a tunnel?",
            )


def _copies(point: HookPoint, ruleset: Ruleset) -> Iterator[Chain]:
    """The copying, a chain for each signature."""
    if ruleset.signatures:
        yield sharing.address_chain(point, ruleset)
    # Before any limit: forgeries must not use up what others need.
    asked = ruleset.reverse_path and point is HookPoint.INGRESS
    before = _REVERSE_PATH_FIRST if asked else ()
    for signature in ruleset.signatures:
        if signature.sampled:
            yield _sample(point, ruleset, signature)
            lines = _sampled_lines(point, signature.name)
        else:
            lines = _copy_lines(point, ruleset, signature)
        yield Chain(names.copies(point, signature.name), (*before, *lines))


def _copy_lines(
    point: HookPoint, ruleset: Ruleset, signature: Signature
) -> Iterator[Line]:
    limit = sharing.copies(ruleset, signature)
    yield Line(
        (matching.jump(names.address_share(point)),),
        "no address gets more than its share",
    )
    yield Line(
        (limit, LogPacket(ruleset.nflog_group), matching.ACCEPT),
        "copy to the daemon, and on its way",
    )
    yield Line(
        (NamedCounter(names.HELD_BACK_BY_SIGNATURE), matching.ACCEPT),
        "beyond what is copied of its kind",
    )


def _candidates(point: HookPoint, signatures: Sequence[Signature]) -> Iterator[Chain]:
    """Comparing with every signature, as a tree: most packets see little of it."""
    transports = sorted({signature.transport for signature in signatures})
    for transport in transports:
        # The sampled ones last: a handshake on their ports is not theirs.
        ours = [s for s in signatures if s.transport is transport]
        ours.sort(key=lambda signature: signature.sampled)
        name = names.transport_candidates(point, transport)
        yield from _tree(point, name, _decision(tuple(ours)))


@lru_cache(maxsize=32)  # of each hook and each table that is composed it is the same
def _decision(signatures: tuple[Signature, ...]) -> tuple[Branch, ...]:
    return decision(signatures)


def _tree(
    point: HookPoint,
    name: str,
    branches: Sequence[Branch],
    known: dict[tuple[Branch, ...], str] | None = None,
    *,
    below: str | None = None,
) -> Iterator[Chain]:
    """The chain of that name, behind the chains that its branches need.

    Branches that lead to the same further ones (`known`, and what they are called)
    share a chain. Chains behind are called after `below`, if not after this one.
    """
    known = {} if known is None else known
    lines = []
    for branch in branches:
        if isinstance(branch.then, Signature):
            target = names.copies(point, branch.then.name)
            comment = branch.then.name
        else:
            comment = branch.asks.replace("_", " ")
            comment += " port" if branch.asks in ENDS else ""
            if branch.then not in known:
                wanted = (
                    _name_of(branch.then, point) or f"{below or name}_{branch.asks}"
                )
                known[branch.then] = _unused(wanted, known.values())
                # What comes behind one end's port comes behind the other's, too.
                below = name if branch.asks in ENDS else None
                yield from _tree(
                    *(point, known[branch.then], branch.then, known), below=below
                )
            target = known[branch.then]
        lines.append(Line((*branch.condition, matching.jump(target)), comment))
    yield Chain(name, tuple(lines))


def _name_of(branches: tuple[Branch, ...], point: HookPoint) -> str | None:
    """What a chain is called that says the same wherever it is jumped to from."""
    after = {branch.then if branch.asks == WHOLE else None for branch in branches}
    match tuple(after):
        case (Signature(name),):
            return names.whole(point, name)
    return None


def _unused(name: str, used: Collection[str]) -> str:
    """That name, with a number behind it if there is a chain of that name."""
    numbered = (f"{name}_{number}" for number in count(2))
    return next(one for one in chain((name,), numbered) if one not in used)


def _sampled_lines(point: HookPoint, signature: str) -> Iterator[Line]:
    for family in Family:
        for load in (matching.source(family), matching.destination(family)):
            yield Line(
                (
                    *matching.of_family(family),
                    load,
                    Lookup(names.protected_set(family), matching.KEY),
                    matching.RETURN,
                ),
                "protected: of no interest",
            )
        yield Line(
            (
                *matching.of_family(family),
                matching.jump(registered.entrance(registered.Use.COPY, family)),
            ),
            "registered: of no interest",
        )
    for family in Family:
        yield Line(
            (
                *matching.of_family(family),
                matching.address_pair(family),
                Lookup(
                    names.sampled_set(signature, family), matching.KEY, inverted=True
                ),
                matching.jump(names.address_share(point)),
            ),
            "a pair that is new counts against its addresses' share",
        )
    yield Line((matching.jump(names.sample(point, signature)),), "a few packets of it")
    yield Line((matching.ACCEPT,), "on its way")


def _sample(point: HookPoint, ruleset: Ruleset, signature: Signature) -> Chain:
    """The chain that copies a few packets of a pair of addresses, and returns.

    A pair that finds no room in the set is limited by the signature's share alone.
    """
    beyond = tuple(
        Line(
            (
                *matching.of_family(family),
                matching.address_pair(family),
                DynamicSet(
                    names.sampled_set(signature.name, family),
                    SetOperation.UPDATE,
                    matching.KEY,
                    expressions=(SAMPLE,),
                ),
                matching.RETURN,
            ),
            "enough of this pair of addresses for now",
        )
        for family in Family
    )
    limit = sharing.copies(ruleset, signature)
    return Chain(
        names.sample(point, signature.name),
        (
            *beyond,
            Line(
                (limit, LogPacket(ruleset.nflog_group), matching.RETURN),
                "copy to the daemon",
            ),
            Line(
                (NamedCounter(names.HELD_BACK_BY_SIGNATURE),),
                "beyond what is copied of its kind",
            ),
        ),
    )
