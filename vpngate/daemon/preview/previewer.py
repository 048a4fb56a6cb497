# SPDX-License-Identifier: GPL-2.0-or-later
"""Previews, as they are asked for: one at a time, beside everything else.

Knows where flows, verdicts and numbers come from, what is compared with what, and what
is told of it: exact numbers of what is in force, and of what a caller chose only what
`telling.py` lets out, so often as `ration.py` says. No address leaves it.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any

from vpngate.config import Config, parse_config
from vpngate.daemon.in_force import InForce
from vpngate.daemon.outside.handed_over import FILES
from vpngate.daemon.preview.outlook import (
    Acting,
    Flows,
    Outlook,
    Spared,
    TunnelOutlook,
    outlook,
)
from vpngate.daemon.preview.proposal import Asked, Proposal
from vpngate.daemon.preview.ration import Ration
from vpngate.daemon.preview.telling import FEWEST, STEP, told
from vpngate.daemon.threads import in_thread
from vpngate.daemon.traffic.judging import share_of
from vpngate.daemon.traffic.pipeline import Pipeline
from vpngate.daemon.wellbeing.kernel_counters import KernelCounters
from vpngate.errors import Problem, Refused
from vpngate.kernel.plane import DataPlane
from vpngate.policy import is_chosen
from vpngate.prefixes.intervals import Intervals
from vpngate.snapshot import Snapshot, enabled_tunnels
from vpngate.timekeeping.moments import When
from vpngate.tunnels import all_tunnels
from vpngate.units import format_rate

_ANOTHER = "a preview of another registry or configuration"
# What another configuration changes, and no flow of now can show.
_UNSEEN: dict[str, Callable[[Config], object]] = {
    "gateway.interfaces": lambda c: c.gateway.interfaces,
    "gateway.side": lambda c: c.gateway.side,
    "gateway.reverse_path": lambda c: c.gateway.reverse_path,
    "tunnels.enabled": lambda c: c.tunnels.enabled,
    "tunnels.confirm": lambda c: c.tunnels.confirm,
    "capture": lambda c: c.capture,
}
_WHOSE = (
    "whose traffic is how much is not known: what is slowed is counted as a whole, and"
    " while nothing is slowed no flow is counted"
)
_GRACE = (
    "of who is in the registry in force and not in the other, the grace is over here:"
    " removal_grace is how long nothing changes for them"
)
_LATER = "what is newly slowed by it is slowed from its next handshake on"


class Previewer:
    """Answers `preview`.

    `spared_by` tells whom a snapshot's registry spares, where the kernel has been told;
    else it has to be merged, which takes a second for a million prefixes.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - it speaks of all of them
        self,
        in_force: InForce,
        pipeline: Pipeline,
        plane: DataPlane,
        counters: KernelCounters,
        clock: Callable[[], When],
        spared_by: Callable[[Snapshot], Intervals | None],
    ) -> None:
        self._in_force = in_force
        self._pipeline = pipeline
        self._plane = plane
        self._counters = counters
        self._clock = clock
        self._spared_by = spared_by
        self._ration = Ration()
        self._busy = False

    async def serve(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The answer; Refused while another is looked for, or after too many."""
        asked = Asked.of(arguments, FILES.get())
        if self._busy:
            raise Refused(
                Problem("preview", "another one is under way", "again in a moment")
            )
        self._busy = True
        try:
            if asked.is_about_another:
                self._ration.take(_ANOTHER)
            return await self._answer(asked)
        finally:
            self._busy = False

    async def _answer(self, asked: Asked) -> dict[str, Any]:
        most = self._in_force.snapshot.config.registry.max_rows
        proposal = await in_thread(asked.read, asked.copies(), most, _parse)
        await self._counters.refresh()
        slowed = await self._plane.slowed()
        flows = Flows(self._pipeline.flows.confirmed(), slowed)
        snapshot = self._in_force.snapshot
        share = _share(snapshot, proposal)
        found = await in_thread(self._look, snapshot, proposal, share, flows)
        another = asked.is_about_another
        told_of = _of_another if another else _of_what_is_in_force
        with_now = snapshot.enforcing or not another
        return {
            "mode": snapshot.stance.mode.value,
            "share": round(100 * share),
            "compared_with": "now" if with_now else "enforcing what is in force",
            **told_of(found.tallies),
            "registered_touched": found.registered,
            "traffic": _traffic(self._counters),
            "notes": list(_notes(snapshot.config, asked, proposal)),
        }

    def _look(
        self, snapshot: Snapshot, proposal: Proposal, share: float, flows: Flows
    ) -> Outlook:
        """What would come of a proposal; takes its time where flows are many."""
        now = self._clock()
        acted_on = _proposed(snapshot, proposal.config)
        given = proposal.spared
        whom = given
        if whom is None:
            held = self._spared_by(snapshot)
            whom = snapshot.registry.covered(now) if held is None else held
        addresses = flows.addresses
        spared = Spared(addresses, whom, acted_on.protected)
        # In force is judged by the tree, and checked by the sets.
        standing = _by_tree(addresses, acted_on) if given is None else spared
        after = Acting(acted_on, standing, self._choosing(share), now)
        before = None
        if (
            given is not None or proposal.config is not None
        ) and not snapshot.enforcing:
            chooses = self._choosing(share_of(snapshot))
            before = Acting(snapshot, _by_tree(addresses, snapshot), chooses, now)
        prefix = snapshot.subscriber_prefix
        return outlook(flows, before, after, spared.protects, prefix)

    def _choosing(self, share: float) -> Callable[[bytes], bool]:
        """Who belongs to a share, by the key in force."""
        key = self._in_force.snapshot.share_key
        return lambda bucket: is_chosen(bucket, key, share)


def _by_tree(addresses: Collection[bytes], snapshot: Snapshot) -> Spared:
    """Whom a snapshot leaves alone, of these."""
    return Spared(addresses, snapshot.protected, registry=snapshot.registry)


def _share(snapshot: Snapshot, proposal: Proposal) -> float:
    """The share that is proposed, or the one in force."""
    if proposal.share is not None:
        return proposal.share
    if proposal.config is not None:
        return proposal.config.gateway.enforce_share / 100
    return share_of(snapshot)


def _traffic(counters: KernelCounters) -> dict[str, Any]:
    """What crosses the hooks, and what of it the slower class passes, lately."""
    rates = {"all": counters.traffic_rate, "slowed": counters.rate}
    everything, slowed = (sum(each.values()) for each in rates.values())
    percent = round(100 * slowed / everything, 1) if everything else None
    shown = {
        name: {direction: format_rate(round(one)) for direction, one in rate.items()}
        for name, rate in rates.items()
    }
    return {**shown, "slowed_percent": percent, "by_tunnel": None}


def _parse(text: str, where: str) -> Config:
    names = [tunnel.name for tunnel in all_tunnels()]
    return parse_config(text, where=where, known_tunnels=names)


def _proposed(snapshot: Snapshot, config: Config | None) -> Snapshot:
    """The snapshot with another configuration, if there is one."""
    if config is None:
        return snapshot
    return replace(snapshot, config=config, tunnels=enabled_tunnels(config))


def _of_what_is_in_force(tallies: Mapping[str, TunnelOutlook]) -> dict[str, Any]:
    """Exact: nothing of it was chosen by who asks."""

    def subscribers(which: str) -> int:
        return len(set().union(*(getattr(each, which) for each in tallies.values())))

    return {
        "tunnels": {
            name: {
                "up": each.up,
                "would_be_slowed": each.after,
                "left_alone": each.up - each.after,
                "newly_slowed": each.newly,
                "no_longer_slowed": each.no_longer,
            }
            for name, each in sorted(tallies.items())
        },
        "subscribers": {
            "would_be_slowed": subscribers("subscribers"),
            "newly_slowed": subscribers("subscribers_newly"),
            "no_longer_slowed": subscribers("subscribers_no_longer"),
        },
    }


def _of_another(tallies: Mapping[str, TunnelOutlook]) -> dict[str, Any]:
    """What differs for whom, as far as it may be told; None is fewer than so many."""
    return {
        "tunnels": {
            name: {
                "up": each.up,
                "slowed_before": each.before,
                "subscribers_newly_slowed": told(len(each.subscribers_newly)),
                "subscribers_no_longer_slowed": told(len(each.subscribers_no_longer)),
            }
            for name, each in sorted(tallies.items())
        },
        "told": {"fewer_than": FEWEST, "in_steps_of": STEP},
    }


def _notes(config: Config, asked: Asked, proposal: Proposal) -> Iterator[str]:
    """What the numbers do not say."""
    if asked.registry and not asked.config:
        yield _GRACE
    if asked.is_about_another:
        yield _LATER
    if proposal.config is not None:
        for key, value in _UNSEEN.items():
            if value(config) != value(proposal.config):
                yield f"{key} differs: what that brings, no flow of now can show"
    yield _WHOSE
