# SPDX-License-Identifier: GPL-2.0-or-later
"""What can change what is in force, and what is in force: values, and nothing else.

Knows which events there are and what each brings along; does not know what follows from
one (`transition.py`).
"""

from dataclasses import dataclass, field

from vpngate.attachment.machine import Machine
from vpngate.config import Config
from vpngate.errors import VpngateError
from vpngate.snapshot import Snapshot
from vpngate.stance import StanceEvent
from vpngate.supply.keeper import Delivery


@dataclass(frozen=True)
class ConfigRead:
    """The file at `path` says `config`; `machine` is this one, seen by that.

    share_key  that it names; None: as before
    """

    path: str
    config: Config
    machine: Machine
    share_key: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, eq=False)
class ConfigUnreadable:
    """The file cannot be read, or makes no sense."""

    reasons: VpngateError


@dataclass(frozen=True, eq=False)
class RegistryFetched:
    """A source had another registry, or had none other: then `delivery` is None."""

    delivery: Delivery | None


@dataclass(frozen=True, eq=False)
class RegistryMissing:
    """No source had a registry that may be taken."""

    reasons: VpngateError


@dataclass(frozen=True)
class MachineSeen:
    """The machine is like this, seen by a configuration that was wanted then."""

    config: Config
    machine: Machine


@dataclass(frozen=True)
class MinutePassed:
    """Time may have changed who is registered."""


Event = (
    ConfigRead
    | ConfigUnreadable
    | RegistryFetched
    | RegistryMissing
    | MachineSeen
    | MinutePassed
    | StanceEvent
)


@dataclass(frozen=True, eq=False)
class Situation:
    """What is in force, and what has yet to come into force.

    snapshot  what is acted on
    wanted    the configuration that is in force whole once it is known whether there is
              another registry
    rejected  rows of the registry that could not be used
    reading   whether a configuration was read, and nothing heard of a registry since
    share_key that is in force with `wanted`; None: as in the snapshot
    """

    snapshot: Snapshot
    wanted: Config
    rejected: int = 0
    reading: bool = False
    share_key: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, eq=False)
class Declined:
    """An event changes nothing, for these reasons."""

    reasons: VpngateError
