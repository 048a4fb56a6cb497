# SPDX-License-Identifier: GPL-2.0-or-later
"""From the situation in force and an event to the next situation, or why there is none.

Knows what each event means, what of it slows less and so waits for nothing, and what is
left of one that could not be carried out. Pure: no clock, no file, no kernel.

A configuration counts in two steps: what of it slows nobody more as soon as it is read,
the rest once it is known whether there is another registry, so that whoever is newly
registered is not slowed meanwhile.
"""

from dataclasses import replace

from vpngate.attachment.look import insist
from vpngate.attachment.machine import Machine
from vpngate.config import Config, Reload, changes, with_less, without_more
from vpngate.daemon.applying.events import (
    ConfigRead,
    ConfigUnreadable,
    Declined,
    Event,
    MachineSeen,
    MinutePassed,
    RegistryFetched,
    RegistryMissing,
    Situation,
)
from vpngate.errors import InvalidConfig, VpngateError
from vpngate.snapshot import Snapshot, enabled_tunnels
from vpngate.supply.keeper import Delivery


def next_situation(situation: Situation, event: Event) -> Situation | Declined:
    """What is in force after an event; the situation itself if it changes nothing."""
    match event:
        case ConfigRead():
            return _configured(situation, event)
        case ConfigUnreadable(reasons):
            return Declined(reasons)
        case RegistryFetched(delivery):
            return _whole(situation, delivery)
        case RegistryMissing():
            return _whole(situation, None)
        case MachineSeen():
            return _seen(situation, event)
        case MinutePassed():
            return situation


def urgent(situation: Situation, event: Event) -> Situation:
    """The situation with what an event brings against slowing, and nothing else of it.

    Whom it protects is protected, and if it ends slowing nobody is slowed. It may be in
    force while changes that came before the event have yet to be made.
    """
    after = next_situation(situation, event)
    if isinstance(after, Declined) or after is situation:
        return situation
    old, new = situation.snapshot, after.snapshot
    snapshot = _at(old, with_less(old.config, new.config), _safer(old, new))
    wanted = with_less(situation.wanted, after.wanted)
    if snapshot is old and wanted is situation.wanted:
        return situation
    return replace(situation, snapshot=snapshot, wanted=wanted)


def left_of(situation: Situation, event: Event) -> Situation:
    """The situation where an event's change could not be made.

    What it brings against slowing stays. A configuration that waited for a registry
    whose change failed waits no more: it counts as refused.
    """
    less = urgent(situation, event)
    if isinstance(event, RegistryFetched | RegistryMissing):
        return replace(less, wanted=less.snapshot.config, reading=False)
    return less


def supersedes(later: Event, earlier: Event) -> bool:
    """Whether an event that waits need not be looked at, since another came behind it.

    A look at the machine shows all that there is: what one before it showed is past.
    """
    return isinstance(later, MachineSeen) and isinstance(earlier, MachineSeen)


def _configured(situation: Situation, event: ConfigRead) -> Situation | Declined:
    old = situation.snapshot
    found = changes(old.config, event.config)
    if found.reload is Reload.COLD:
        return Declined(InvalidConfig(found.problems(event.path)))
    known = old.config.gateway.interfaces
    try:
        insist(event.config, event.machine, known, suspended=bool(old.suspended))
    except VpngateError as reasons:
        return Declined(reasons)
    snapshot = _at(old, without_more(old.config, event.config), event.machine)
    return replace(situation, snapshot=snapshot, wanted=event.config, reading=True)


def _whole(situation: Situation, delivery: Delivery | None) -> Situation:
    """All of the configuration that is wanted, with the registry that there is."""
    old, wanted = situation.snapshot, situation.wanted
    rejected = situation.rejected if delivery is None else delivery.rejected
    if delivery is not None:
        grace = wanted.registry.removal_grace
        old = replace(old, registry=replace(delivery.registry, grace=grace))
    snapshot = _at(old, wanted, old.machine)
    return Situation(snapshot, wanted, rejected)


def _seen(situation: Situation, event: MachineSeen) -> Situation:
    old, machine = situation.snapshot, event.machine
    if event.config != situation.wanted:
        # Another one has come meanwhile, and means other interfaces. But the gateway's
        # own addresses are the same by any.
        machine = replace(old.machine, addresses=machine.addresses)
    snapshot = _at(old, old.config, machine)
    return situation if snapshot is old else replace(situation, snapshot=snapshot)


def _safer(old: Snapshot, new: Snapshot) -> Machine:
    """The old machine, with the addresses and the objections to slowing of both."""
    machine = replace(
        old.machine,
        addresses=old.machine.addresses | new.machine.addresses,
        forgeable=new.machine.forgeable or old.machine.forgeable,
    )
    return old.machine if machine == old.machine else machine


def _at(old: Snapshot, config: Config, machine: Machine) -> Snapshot:
    """The snapshot with these; itself if it has them already."""
    if config == old.config and machine == old.machine:
        return old
    grace = config.registry.removal_grace
    registry = old.registry
    if registry.grace != grace:
        registry = replace(registry, grace=grace)
    return Snapshot(config, enabled_tunnels(config), registry, machine)
