# SPDX-License-Identifier: GPL-2.0-or-later
"""Which fault comes when: the same for the same seed, whichever number one begins with.

Knows numbers and weights; does not know what a fault does. Each number draws from a
source of its own, so that one fault can be repeated without those before it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

from tests.campaign.fault import Fault, Parameters

_ACTING = 0.8  # of the faults find verdicts acted on
_SHORTEST, _LONGEST = 0.3, 1.2  # seconds that one is left alone with


@dataclass(frozen=True)
class Planned:
    """A fault with a number.

    enforcing  whether verdicts are to be acted on when it comes
    seconds    that it lasts at least, before it is undone
    alone      it was drawn among no others
    """

    seed: int
    number: int
    fault: Fault
    parameters: Parameters
    enforcing: bool
    seconds: float
    alone: bool = False

    @property
    def again(self) -> str:
        """How to have it once more."""
        only = f" ONLY='{self.fault.name}'" if self.alone else ""
        return f"make campaign SEED={self.seed} FROM={self.number} FAULTS=1{only}"

    def __str__(self) -> str:
        told = " ".join(f"{name}={value}" for name, value in self.parameters.items())
        acting = "enforcing" if self.enforcing else "observing"
        return f"{self.fault.name} ({acting}{', ' if told else ''}{told})"


def planned(faults: Sequence[Fault], seed: int, number: int) -> Planned:
    """The fault with this number."""
    random = Random(f"{seed} {number}")
    (fault,) = random.choices(faults, [each.weight for each in faults])
    parameters = fault.draw(random)
    acting = random.random() < _ACTING
    seconds = round(random.uniform(_SHORTEST, _LONGEST), 2)
    return Planned(
        seed=seed,
        number=number,
        fault=fault,
        parameters=parameters,
        enforcing=acting or fault.enforcing,
        seconds=seconds,
        alone=len(faults) == 1,
    )


def schedule(
    faults: Sequence[Fault], seed: int, first: int, count: int
) -> Iterator[Planned]:
    """So many faults, from number `first` on."""
    for number in range(first, first + count):
        yield planned(faults, seed, number)
