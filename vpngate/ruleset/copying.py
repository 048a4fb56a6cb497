# SPDX-License-Identifier: GPL-2.0-or-later
"""The chains that copy what looks like a tunnel's handshake to user space.

Knows how copies are shared out among signatures, and that a sampled signature is
copied only a few times a pair of addresses; does not know what a signature means.
"""

from collections.abc import Iterator, Sequence

from vpngate.expressions import DynamicSet, Limit, Log, Lookup, Rule, SetOperation
from vpngate.packets import Family, Transport
from vpngate.ruleset import matching, names
from vpngate.ruleset.table import Chain, Line, Nature, Set, address_type
from vpngate.signatures import Signature
from vpngate.signatures.decision import Branch, decision
from vpngate.signatures.nft import entrances

# Per pair of addresses and direction: evidence takes two packets each way, and a
# tunnel whose verdict ended must be seen again before long.
SAMPLE = Limit(rate=12, burst=4, seconds=60)
_SAMPLE_MEMORY = 60.0  # seconds without a packet
_SAMPLED_PAIRS = 65536


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


def copy_chains(
    signatures: Sequence[Signature],
    group: int,
    packets_per_second: int,
    generation: int,
) -> Iterator[Chain]:
    """From the copying itself up to the chain `candidates`, which all packets walk."""
    share = max(1, packets_per_second // max(1, len(signatures)))
    copy = (Limit(share, share), Log(group), matching.ACCEPT)
    for signature in signatures:
        lines = (
            _sampled_lines(signature.name, copy, generation)
            if signature.sampled
            else [Line(copy, "copy to the daemon, and on its way")]
        )
        yield Chain(names.copies(signature.name), tuple(lines))
    transports = sorted({signature.transport for signature in signatures})
    for transport in transports:
        yield from _transport_chains(transport, signatures)
    yield Chain(
        names.CANDIDATES,
        tuple(
            Line(
                (*entrance, matching.goto(names.transport_candidates(transport))),
                f"unfragmented {transport.label}",
            )
            for transport in transports
            for entrance in entrances(transport)
        ),
    )


def _transport_chains(
    transport: Transport, signatures: Sequence[Signature]
) -> Iterator[Chain]:
    """Comparing with every signature, as a tree: most packets see little of it."""
    # The sampled ones last: a handshake on their ports is not theirs.
    ours = [s for s in signatures if s.transport is transport]
    ours.sort(key=lambda signature: signature.sampled)
    yield from _tree(names.transport_candidates(transport), decision(ours))


def _tree(name: str, branches: Sequence[Branch]) -> Iterator[Chain]:
    """The chain of that name, behind the chains that its branches need."""
    lines = []
    for number, branch in enumerate(branches, 1):
        if isinstance(branch.then, Signature):
            target, comment = names.copies(branch.then.name), branch.then.name
        else:
            target = f"{name}_{number}"
            comment = f"{len(branch.then)} ways to go on"
            yield from _tree(target, branch.then)
        lines.append(Line((*branch.condition, matching.jump(target)), comment))
    yield Chain(name, tuple(lines))


def _sampled_lines(signature: str, copy: Rule, generation: int) -> Iterator[Line]:
    for family in Family:
        for load in (matching.source(family), matching.destination(family)):
            yield Line(
                (
                    *matching.of_family(family),
                    load,
                    Lookup(names.spared_set(family, generation), matching.KEY),
                    matching.RETURN,
                ),
                "registered or protected: of no interest",
            )
        yield Line(
            (
                *matching.of_family(family),
                matching.address_pair(family),
                DynamicSet(
                    names.sampled_set(signature, family),
                    SetOperation.UPDATE,
                    matching.KEY,
                    expressions=(SAMPLE,),
                ),
                *copy,
            ),
            "a few packets of this pair to the daemon, and on their way",
        )
