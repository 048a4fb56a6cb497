# SPDX-License-Identifier: GPL-2.0-or-later
"""What should become of the packet of a case: verdict, armed, spared, and then slowed.

Said of the packet and of who is spared, never of rules; `walk.py` tells what the rules
make of it.
"""

from collections import Counter
from functools import cache

from tests.unit.ruleset.cases import (
    BESIDE,
    BESIDE_OTHERS,
    NOBODY,
    OTHER_FAMILY,
    OWN,
    Case,
)
from tests.unit.ruleset.contents import (
    CLASS,
    DEVICE,
    SIGNATURES,
    flow_key,
    lay_out,
    shares,
)
from tests.unit.ruleset.kinds import PLAIN_GRE
from tests.unit.ruleset.walk import Passed, Walk
from vpngate.packets import HookPoint, Transport
from vpngate.ruleset import names
from vpngate.signatures import Signature
from vpngate.signatures.predicate import matches


def fares_well(walk: Walk, case: Case) -> bool:
    """Whether the rules make of the packet what they should."""
    lay_out(walk, case)
    return walk.passes(case.point, case.kind.frame) == promised(case)


def promised(case: Case) -> Passed:
    """What should become of the packet."""
    counted = Counter({names.traffic_counter(case.direction): 1})
    alone = Passed(counted, 0, (), None, None)
    if not _has_verdict(case):
        return _searched(case, alone)
    if case.armed not in ("both", "its own"):
        return alone
    if _is_spared(case):
        counted[names.spared_counter(case.family)] += 1
        return alone
    return _slowed(case, alone)


def _has_verdict(case: Case) -> bool:
    """Whether the kernel finds one: the packet shows what a verdict is about."""
    if case.verdict not in (OWN, BESIDE_OTHERS) or not case.ruleset.enforce:
        return False
    carriers = [one for one in case.ruleset.carriers if one.transport == case.protocol]
    if not carriers or not case.kind.transport or case.body == PLAIN_GRE:
        return False
    (carrier,) = carriers
    needs_header = carrier.transport.has_ports or carrier.fields
    return case.kind.header or not needs_header


def _is_spared(case: Case) -> bool:
    return case.spared not in (NOBODY, BESIDE, OTHER_FAMILY)


def _slowed(case: Case, alone: Passed) -> Passed:
    """It goes to its verdict's class; where verdicts may end, a few are copied."""
    transport = Transport(case.protocol)
    watched = [s for s in SIGNATURES if s.sampled and s.transport is transport]
    name = names.verdict_map(case.direction, case.family, transport)
    touched = (
        *(_pair(case, signature) for signature in watched),
        (name, flow_key(case.ends, transport)),
    )
    alone.counted[names.throttled_counter(case.direction)] += 1
    if case.spent == "by its signature" and watched:
        alone.counted[names.HELD_BACK_BY_SIGNATURE] += len(watched)
    copied = len(watched) * (case.spent not in ("by its pair", "by its signature"))
    return Passed(alone.counted, copied, touched, CLASS, DEVICE)


def _searched(case: Case, alone: Passed) -> Passed:
    """It goes on its way, and is copied if it looks like a tunnel's."""
    if not case.kind.transport:
        return alone
    fitting = _fitting(case.kind.frame[18 if case.kind.name == "VLAN" else 14 :])
    if not fitting:
        return alone
    if case.point is HookPoint.INGRESS and not case.lives:
        alone.counted[names.REVERSE_PATH_FAILED] += 1
        return alone
    return _copied(case, fitting[0], alone)


def _copied(case: Case, signature: Signature, alone: Passed) -> Passed:
    """It is copied, unless nobody wants it or too many have been."""
    if signature.sampled and _is_spared(case):
        return alone
    # A pair that is known has been counted against its address before.
    known = signature.sampled and case.spent == "by its pair"
    touched = () if known else tuple(shares(case))
    if case.spent in ("by its address", "by its source"):
        alone.counted[names.HELD_BACK_BY_ADDRESS] += 1
        asked = 1 if case.spent == "by its address" else len(touched)
        return alone._replace(touched=touched[:asked])
    if signature.sampled:
        touched = (*touched, _pair(case, signature))
    if case.spent == "by its signature":
        alone.counted[names.HELD_BACK_BY_SIGNATURE] += 1
        return alone._replace(touched=touched)
    return alone._replace(touched=touched, copied=0 if known else 1)


def _pair(case: Case, signature: Signature) -> tuple[str, bytes]:
    return names.sampled_set(signature.name, case.family), b"".join(case.ends)


@cache
def _fitting(packet: bytes) -> list[Signature]:
    return [one for one in SIGNATURES if matches(one, packet)]
