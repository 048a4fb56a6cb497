# SPDX-License-Identifier: GPL-2.0-or-later
"""Every kind of packet in every state that matters to it.

Knows what a case is about; `contents.py` says what is in the sets then, `promise.py`
what should become of the packet.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

from tests.unit.ruleset.kinds import ICMP, Kind, bodies, ends_of, kinds
from vpngate.packets import Direction, Family, HookPoint
from vpngate.ruleset import Ruleset
from vpngate.ruleset.composition import hook_of

# Which flow has a verdict: the packet's own, none, or another.
OWN = "its own"
BESIDE_OTHERS = "its own, and the other transports' of another class"
VERDICTS = (
    OWN,
    BESIDE_OTHERS,
    "none",
    "of no class",
    "the other way round",
    "of the other direction",
    "of the ports beside it",
    "of the address beside it",
    "of the other transports",
    "of the other family",
)
# Which end is spared, and by what.
NOBODY = "nobody"
BESIDE = "those beside them"
OTHER_FAMILY = "what its bytes are in the other family"
SPARED = (
    NOBODY,
    "source protected",
    "destination protected",
    "source registered",
    "destination registered",
    "source in a network",
    "destination in a network",
    BESIDE,
    OTHER_FAMILY,
)
# Who has had a share of the copies, and gets no more.
NOTHING = "nothing"
SPENT = (
    NOTHING,
    "by its address",
    "by its source",
    "by the address beside it",
    "by its pair",
    "by the pair the other way round",
    "by its signature",
)
ARMED = ("both", "its own", "the other", "neither")
# The kind that is tried in every state; the others are tried in a few.
EVERY_STATE = "plain"
_SCTP = 132  # of no interest to anyone here


@dataclass(frozen=True)
class Case:
    """One packet, and what is in the sets when it comes."""

    ruleset: Ruleset
    direction: Direction
    family: Family
    protocol: int
    body: str
    kind: Kind
    verdict: str = OWN
    armed: str = "both"
    spared: str = NOBODY
    lives: bool = True
    spent: str = NOTHING

    def __str__(self) -> str:
        return ", ".join(
            (
                "enforcing" if self.ruleset.enforce else "observing",
                "subscribers" if self.ruleset.subscriber_side else "uplink",
                *(self.direction, self.family.label, f"protocol {self.protocol}"),
                *(self.body, self.kind.name, f"verdict {self.verdict}"),
                *(f"armed {self.armed}", f"spared {self.spared}"),
                *(f"spent {self.spent}", "" if self.lives else "forged"),
            )
        )

    @property
    def point(self) -> HookPoint:
        """Where it is seen."""
        return hook_of(self.direction, self.ruleset)

    @property
    def ends(self) -> tuple[bytes, bytes]:
        """Its source and destination."""
        near, far = ends_of(self.family, self.protocol)
        return (near, far) if self.direction is Direction.UPLOAD else (far, near)


def cases(ruleset: Ruleset) -> Iterator[Case]:
    """All of them, with this ruleset."""
    for direction, family in product(Direction, Family):
        turned = direction is Direction.DOWNLOAD
        point = hook_of(direction, ruleset)
        transports = [carrier.transport for carrier in ruleset.carriers]
        for protocol in (*transports, ICMP[family], _SCTP):
            for said, body in bodies(protocol):
                for kind in kinds(family, protocol, body, point, turned=turned):
                    case = Case(ruleset, direction, family, protocol, said, kind)
                    yield from _states(case)


def _states(case: Case) -> Iterator[Case]:
    if not case.ruleset.enforce:
        yield case
        yield replace(case, spared="source registered", lives=False)
        return
    yield case
    yield replace(case, armed="the other")
    yield replace(case, spared="source registered")
    yield replace(case, spared="destination protected")
    yield replace(case, verdict="none")
    yield replace(case, verdict="of the other family")
    if case.kind.name == EVERY_STATE:
        yield from _every_state(case)


def _every_state(case: Case) -> Iterator[Case]:
    for spared, armed in product(SPARED, ARMED):
        yield replace(case, spared=spared, armed=armed)
    for verdict in VERDICTS:
        yield replace(case, verdict=verdict)
        # What is nobody's verdict is not counted as spared, nor missed as unarmed.
        yield replace(case, verdict=verdict, armed="neither")
        yield replace(case, verdict=verdict, spared="source registered")
    for spared in SPARED:
        yield replace(case, verdict="none", spared=spared)
        yield replace(case, verdict="none", spared=spared, lives=False)
    for spent in SPENT:
        yield replace(case, spent=spent)
        yield replace(case, verdict="none", spent=spent)
        yield replace(case, verdict="none", spent=spent, lives=False)
    yield replace(case, lives=False)
