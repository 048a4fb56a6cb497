# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether the cases notice what might be wrong: one slip after the other in the rules.

One direction and family stand for all: the same functions write the others.
"""

from collections import defaultdict
from collections.abc import Collection
from random import Random

import pytest

from tests import rulesets
from tests.unit.ruleset.cases import Case, cases
from tests.unit.ruleset.contents import table_in_parts
from tests.unit.ruleset.mutations import Mutation, mutations
from tests.unit.ruleset.promise import fares_well
from tests.unit.ruleset.walk import Walk
from tests.unit.signatures.netdev_hook import Refused
from vpngate.packets import Family
from vpngate.ruleset import registered
from vpngate.ruleset.composition import compose
from vpngate.ruleset.table import Table

RULESET = rulesets.RULESET
KINDS = ("plain", "first fragment", "second fragment", "header alone")
_FEW = 200
# The witness's are walked at the ifbs.
USES = (registered.Use.THROTTLE, registered.Use.COPY)
ENTRANCES = [registered.entrance(use, Family.IPV4) for use in USES]
PROTECTED = (1, 2, 4, 5)  # the lines that ask whether an end is
FLOWS = [f"ingress_{transport}_ipv4" for transport in ("tcp", "udp", "gre", "esp")]
CHAINS = (
    *("ingress", "ingress_ipv4", *FLOWS, "throttle_upload_ipv4"),
    *ENTRANCES,
    *("reverse_path", "ingress_address_share"),
    *("ingress_copy_wireguard_initiation", "ingress_copy_esp", "ingress_sample_esp"),
)


# What changes nothing, and why.
ALIKE = {
    "the two lines ask about different packets, or to the same effect": (
        *(f"ingress: {line} one later" for line in (1, 3)),
        "ingress_ipv4: 0 one later",
        *(f"throttle_upload_ipv4: {line} one later" for line in (1, 2, *range(4, 9))),
        *(f"{chain}: 0 one later" for chain in ENTRANCES),
        "ingress_address_share: 0 one later",
        "ingress_sample_esp: 0 one later",
        *(f"ingress_copy_esp: {line} one later" for line in range(1, 8)),
    ),
    "whoever comes back finds nothing more that holds": (
        *(f"ingress: {line} ChainVerdict 4 of another kind" for line in (1, 2)),
        *(f"ingress: {line} ChainVerdict 2 of another kind" for line in (3, 4)),
        *(f"ingress_ipv4: {n} ChainVerdict 2 of another kind" for n in (0, 1)),
        *(
            f"ingress_copy_esp: {n} ChainVerdict 4 of another kind"
            for n in (1, 2, 4, 5)
        ),
        "ingress_copy_esp: 9 ChainVerdict 0 of another kind",
        "ingress_copy_esp: 10 left out",
        "ingress_copy_esp: 10 without ChainVerdict 0",
        "ingress_copy_esp: 10 ChainVerdict 0 of another kind",
        "ingress_copy_wireguard_initiation: 2 ChainVerdict 2 of another kind",
        "ingress_copy_wireguard_initiation: 3 without ChainVerdict 1",
        "ingress_copy_wireguard_initiation: 3 ChainVerdict 1 of another kind",
    ),
    "nobody comes back: what has a verdict is accepted or sent": (
        *(f"{FLOWS[n]}: 0 ChainVerdict 5 of another kind" for n in (0, 1)),
        f"{FLOWS[2]}: 0 ChainVerdict 7 of another kind",
        f"{FLOWS[3]}: 0 ChainVerdict 4 of another kind",
    ),
    "nobody waits for what comes back: all chains before were gone from": (
        "throttle_upload_ipv4: 0 ChainVerdict 2 of another kind",
        *(f"throttle_upload_ipv4: {n} ChainVerdict 3 of another kind" for n in (1, 2)),
    ),
    "of what is neither IPv4 nor IPv6 the kernel tells no transport": (
        "ingress: 4 without Compare 1",
    ),
    "the lookup behind it writes over it: it is for nft, which lists the table": (
        *(f"throttle_upload_ipv4: {line} without Immediate 8" for line in (6, 7)),
        "throttle_upload_ipv4: 8 without Immediate 4",
        "throttle_upload_ipv4: 9 without Immediate 10",
    ),
    "asked where the verdict was found; the lines before are the other transports'": (
        "throttle_upload_ipv4: 9 without Range 4",
        "throttle_upload_ipv4: 9 without Compare 7",
    ),
    "for kernels that see ports in a later fragment; the one walked does not": tuple(
        f"throttle_upload_ipv4: {line} without Compare 2" for line in (6, 7, 9)
    ),
}
ALIKE_IN_PARTS = {
    *(f"registered_ipv4_1_{part}: 0 one later" for part in (2, 3)),
    "registered_ipv4: 0 one later",
}


def noticed(mutation: Mutation, asked: list[Case]) -> bool:
    walk = Walk(mutation.table)
    try:
        return not all(fares_well(walk, case) for case in asked)
    except Refused:
        return True


def visits(table: Table) -> dict[str, list[Case]]:
    """The cases whose packets walk a chain, by the chain's name."""
    walk = Walk(table)
    found = defaultdict(list)
    chosen = [case for case in cases(RULESET) if case.kind.name in KINDS]
    Random(1).shuffle(chosen)  # what notices a slip comes soon
    for case in chosen:
        assert fares_well(walk, case)
        for chain in walk.visited:
            found[chain].append(case)
    return found


def unnoticed(
    table: Table, chains: Collection[str], alike: Collection[str]
) -> set[str]:
    """The slips that no case notices; of those known as alike few cases are asked."""
    asked = visits(table)
    found = set()
    for mutation in mutations(table, lambda name: name in chains):
        if mutation.chain in FLOWS and mutation.line:
            continue  # a signature's: `signatures/test_decision.py` walks those
        cases = asked[mutation.chain]
        few = cases[:_FEW] if str(mutation) in alike else cases
        if not noticed(mutation, few):
            found.add(str(mutation))
    return found


@pytest.mark.slow
def test_no_slip_goes_unnoticed() -> None:
    alike = {one for each in ALIKE.values() for one in each}
    assert unnoticed(compose(RULESET), CHAINS, alike) == alike


@pytest.mark.slow
def test_no_slip_goes_unnoticed_where_the_registered_are_in_parts() -> None:
    table = table_in_parts(RULESET)
    # Nobody here has an address in the first.
    chains = ("registered_ipv4", "registered_ipv4_1_2", "registered_ipv4_1_3")
    assert unnoticed(table, chains, ALIKE_IN_PARTS) == ALIKE_IN_PARTS
