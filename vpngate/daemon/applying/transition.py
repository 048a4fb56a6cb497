# SPDX-License-Identifier: GPL-2.0-or-later
"""From the situation in force and an event to the next situation, or why there is none.

Knows what each event means, what of it slows less and so waits for nothing, and what is
left of one that could not be carried out. Pure: no clock, no file, no kernel. `at` is
when the event came.

A configuration counts in two steps: what of it slows nobody more as soon as it is read,
the rest once it is known whether there is another registry, so that whoever is newly
registered is not slowed meanwhile. What the file says of the stance is in the snapshot
as far as the stance has followed it.
"""

from dataclasses import replace

from vpngate.attachment.look import insist
from vpngate.attachment.machine import Machine
from vpngate.config import Config, Mode, Reload, changes, with_less, without_more
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
from vpngate.errors import InvalidConfig, Problem, Refused, VpngateError
from vpngate.snapshot import Snapshot, enabled_tunnels
from vpngate.stance import (
    Configured,
    Denied,
    Enforce,
    Halt,
    Observe,
    Stance,
    StanceEvent,
    Suspend,
    Tick,
    less_of,
    next_stance,
)
from vpngate.timekeeping.clock import Reading


def next_situation(
    situation: Situation, event: Event, at: Reading
) -> Situation | Declined:
    """What is in force after an event; the situation itself if it changes nothing."""
    match event:
        case ConfigRead():
            return _configured(situation, event, at)
        case ConfigUnreadable(reasons):
            return Declined(reasons)
        case RegistryFetched() | RegistryMissing():
            return _whole(situation, event, at)
        case MachineSeen():
            return _seen(situation, event)
        case _:
            if isinstance(event, MinutePassed):
                return situation
            return _asked(situation, event, at)


def urgent(situation: Situation, event: Event, at: Reading) -> Situation:
    """The situation with what an event brings against slowing, and nothing else of it.

    Whom it protects is protected, and if it ends slowing nobody is slowed. It may be in
    force while changes that came before the event have yet to be made.
    """
    after = next_situation(situation, event, at)
    if isinstance(after, Declined) or after is situation:
        return situation
    old, new = situation.snapshot, after.snapshot
    # Time that is over never leads to more, whatever else it leads to.
    over = isinstance(event, Tick)
    stance = new.stance if over else less_of(old.stance, new.stance)
    config = _saying(with_less(old.config, new.config), stance.configured)
    snapshot = _at(old, config, _safer(old, new), stance)
    wanted = _saying(
        with_less(situation.wanted, after.wanted),
        min(_said(after.wanted), _said(situation.wanted), key=_acted_on),
    )
    if wanted == situation.wanted:
        wanted = situation.wanted
    if snapshot is old and wanted is situation.wanted:
        return situation
    return replace(situation, snapshot=snapshot, wanted=wanted)


def left_of(situation: Situation, event: Event, at: Reading) -> Situation:
    """The situation where an event's change could not be made.

    What it brings against slowing stays. A configuration that waited for a registry
    whose change failed waits no more: it counts as refused.
    """
    less = urgent(situation, event, at)
    if isinstance(event, RegistryFetched | RegistryMissing):
        wanted = less.snapshot.config
        return replace(less, wanted=wanted, reading=False, share_key=None)
    return less


def supersedes(later: Event, earlier: Event) -> bool:
    """Whether an event that waits need not be looked at, since another came behind it.

    A look at the machine shows all that there is: what one before it showed is past.
    """
    return isinstance(later, MachineSeen) and isinstance(earlier, MachineSeen)


def _configured(
    situation: Situation, event: ConfigRead, at: Reading
) -> Situation | Declined:
    old = situation.snapshot
    found = changes(old.config, event.config)
    if found.reload is Reload.COLD:
        return Declined(InvalidConfig(found.problems(event.path)))
    known, said = old.config.gateway.interfaces, _said(event.config)
    stays = said == old.stance.configured and not old.stance.enforcing
    try:
        suspended = bool(old.suspended) or stays
        insist(event.config, event.machine, known, suspended=suspended)
    except VpngateError as reasons:
        return Declined(reasons)
    stance = less_of(old.stance, _told(old.stance, said, at))
    config = _saying(without_more(old.config, event.config), stance.configured)
    snapshot = _at(old, config, event.machine, stance)
    return replace(
        situation,
        snapshot=snapshot,
        wanted=event.config,
        reading=True,
        share_key=event.share_key,
    )


def _whole(
    situation: Situation, event: RegistryFetched | RegistryMissing, at: Reading
) -> Situation:
    """All of the configuration that is wanted, with the registry that there is."""
    delivery = event.delivery if isinstance(event, RegistryFetched) else None
    old, wanted = situation.snapshot, situation.wanted
    rejected = situation.rejected if delivery is None else delivery.rejected
    if delivery is not None:
        grace = wanted.registry.removal_grace
        old = replace(old, registry=replace(delivery.registry, grace=grace))
    stance = _told(old.stance, _said(wanted), at)
    if old.registry.suspend:
        stance = _told(stance, Suspend(old.registry.suspend), at)
    snapshot = _at(old, wanted, old.machine, stance, situation.share_key)
    return Situation(snapshot, wanted, rejected)


def _asked(
    situation: Situation, event: StanceEvent, at: Reading
) -> Situation | Declined:
    old = situation.snapshot
    if isinstance(event, Enforce) and old.objections:
        return Declined(Refused(old.objections[0]))
    stance = next_stance(old.stance, event, at)
    if isinstance(stance, Denied):
        return Declined(Refused(Problem("stance", stance.what, stance.remedy)))
    if isinstance(event, Enforce | Halt | Observe | Suspend):
        # What a file says that waits for its registry was said before this.
        stance = replace(stance, configured=_said(situation.wanted))
    config = _saying(old.config, stance.configured)
    snapshot = _at(old, config, old.machine, stance)
    return situation if snapshot is old else replace(situation, snapshot=snapshot)


def _told(stance: Stance, event: Configured | Suspend, at: Reading) -> Stance:
    """The stance after what it never denies."""
    told = next_stance(stance, event, at)
    return stance if isinstance(told, Denied) else told


def _said(config: Config) -> Configured:
    """What a file says of the stance."""
    return Configured(config.gateway.mode, config.gateway.enforce_share)


def _acted_on(said: Configured) -> int:
    """Percent of the subscribers that are acted on, by what a file says."""
    return said.share if said.mode is Mode.ENFORCE else 0


def _saying(config: Config, said: Configured) -> Config:
    """The configuration with another word on the stance."""
    if _said(config) == said:
        return config
    told = {"mode": said.mode, "enforce_share": said.share}
    gateway = config.gateway.model_copy(update=told)
    return config.model_copy(update={"gateway": gateway})


def _seen(situation: Situation, event: MachineSeen) -> Situation:
    old, machine = situation.snapshot, event.machine
    if event.config != situation.wanted:
        # Another one has come meanwhile, and means other interfaces. But the gateway's
        # own addresses are the same by any.
        machine = replace(old.machine, addresses=machine.addresses)
    snapshot = _at(old, old.config, machine, old.stance)
    return situation if snapshot is old else replace(situation, snapshot=snapshot)


def _safer(old: Snapshot, new: Snapshot) -> Machine:
    """The old machine, with the addresses and the objections to slowing of both."""
    objections = new.machine.forgeable or (new.suspended if old.enforcing else ())
    machine = replace(
        old.machine,
        addresses=old.machine.addresses | new.machine.addresses,
        forgeable=objections or old.machine.forgeable,
    )
    return old.machine if machine == old.machine else machine


def _at(
    old: Snapshot,
    config: Config,
    machine: Machine,
    stance: Stance,
    share_key: bytes | None = None,
) -> Snapshot:
    """The snapshot with these; itself if it has them already."""
    key = old.share_key if share_key is None else share_key
    if (config, machine, stance, key) == (
        old.config,
        old.machine,
        old.stance,
        old.share_key,
    ):
        return old
    grace = config.registry.removal_grace
    registry = old.registry
    if registry.grace != grace:
        registry = replace(registry, grace=grace)
    return Snapshot(config, enabled_tunnels(config), registry, machine, stance, key)
