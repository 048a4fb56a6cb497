# SPDX-License-Identifier: GPL-2.0-or-later
"""The chains that look at what is sent to an ifb: nobody spared should be among it.

Knows that one packet is enough to slow nothing more, in the kernel and at once, and
that for a while after a change none counts; does not know who is told, nor which ifbs
there are. What is protected changes with every address of the gateway, which may be
often: so it has sets of its own here, that are behind by that while.

They stand at the ifb's own egress hook, where a packet has just left the chain that
sent it. Behind the ifb they would see what was queued before a registration.
"""

import sys
from collections.abc import Iterator

from vpngate.expressions import (
    Bitwise,
    Compare,
    DynamicSet,
    Immediate,
    Limit,
    LogPacket,
    Lookup,
    Meta,
    MetaKey,
    NamedCounter,
    SetOperation,
)
from vpngate.packets import Family, HookPoint
from vpngate.ruleset import matching, names, registered
from vpngate.ruleset.table import (
    Chain,
    DataType,
    Hook,
    Line,
    Nature,
    Set,
    address_type,
)

WORD = "witness"  # that goes with what is told of a witness
SETTLING = 5.0  # seconds after a change of whom is spared
# How long an address pair can be read after its packet: longer than from one look of
# user space to the next.
_WAITING = 3.0  # seconds
_FEW = 64  # pairs; one a second is taken
_PRIORITY = 0  # of the chains at ifbs: nobody else's are expected there


def lasting_sets() -> Iterator[Set]:
    """What holds the witness's tongue, and what it has seen last."""
    yield Set(
        names.SETTLING,
        (DataType.ETHER_TYPE,),
        Nature.EXPIRING,
        "whom is spared has just changed: no packet at an ifb counts yet",
        timeout=SETTLING,
    )
    for family in Family:
        address = address_type(family)
        yield Set(
            names.waiting_set(family),
            (address, address),
            Nature.DYNAMIC,
            "one packet a second on its way to an ifb: looked up, and forgotten",
            timeout=_WAITING,
            size=_FEW,
        )


def found_chains(group: int) -> Iterator[Chain]:
    """What becomes of a packet that should not be there: it says so, and goes on.

    The dead man's switch is thrown here, for both families, whatever user space does.
    """
    for family in Family:
        yield Chain(
            names.witness_found(family),
            (
                Line((NamedCounter(names.witness(family)),), "a witness"),
                *(
                    Line(
                        (
                            Immediate(matching.ETHERTYPE[either], matching.KEY),
                            DynamicSet(names.ARMED, SetOperation.DELETE, matching.KEY),
                        ),
                        f"slow no {either.label} from now on",
                    )
                    for either in Family
                ),
                Line(
                    (Limit(rate=1, burst=1), LogPacket(group, WORD), matching.ACCEPT),
                    "tell the daemon, without a byte of it",
                ),
                Line((matching.ACCEPT,), "on its way"),
            ),
        )


def watching_chains() -> Iterator[Chain]:
    """What a packet that was sent to an ifb is asked."""
    settling = Line(
        (Meta(MetaKey.PROTOCOL), Lookup(names.SETTLING), matching.ACCEPT),
        "whom is spared has just changed: it may have been on its way",
    )
    for family in Family:
        asked = registered.entrance(registered.Use.WITNESS, family)
        yield Chain(
            names.witness(family),
            (
                settling,
                *_protected_lines(family),
                Line((matching.jump(asked),), "registered ends: a witness"),
                Line(
                    (
                        Limit(rate=1, burst=1),
                        matching.address_pair(family),
                        DynamicSet(
                            names.waiting_set(family),
                            SetOperation.UPDATE,
                            matching.KEY,
                        ),
                    ),
                    "now and then one, for the daemon to look up",
                ),
            ),
        )


def _protected_lines(family: Family) -> Iterator[Line]:
    for end, load in (
        ("source", matching.source(family)),
        ("destination", matching.destination(family)),
    ):
        yield Line(
            (
                load,
                Lookup(names.watched_set(family), matching.KEY),
                matching.goto(names.witness_found(family)),
            ),
            f"protected {end}: a witness",
        )


def base_chain(number: int, ifb: str, major: int) -> Chain:
    """What stands at an ifb's egress hook.

    `major` is the first half of its class ids: what our rules have sent here carries
    one. Anything else is not of our doing, as a router solicitation of the ifb's own.
    """
    mask, ours = (
        number.to_bytes(4, sys.byteorder) for number in (0xFFFF0000, major << 16)
    )
    return Chain(
        names.witness_base(number),
        tuple(
            Line(
                (
                    *(Meta(MetaKey.PRIORITY), Bitwise(mask, bytes(4)), Compare(ours)),
                    *matching.of_family(family),
                    matching.jump(names.witness(family)),
                ),
                f"sent here to be slowed, {family.label}",
            )
            for family in Family
        ),
        Hook(HookPoint.EGRESS, _PRIORITY, (ifb,)),
    )
