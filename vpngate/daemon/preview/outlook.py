# SPDX-License-Identifier: GPL-2.0-or-later
"""What one way of acting would do to flows that are up, as compared with another.

Knows flows, verdicts in force, and how each is judged; does not know how any of it is
told. It judges as the daemon does (`traffic/judging.py`), so that what it foresees is
what happens. What it returns holds addresses of subscribers: for counting, not telling.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from vpngate.daemon.traffic.judging import (
    all_to_slow,
    chosen,
    decision_on,
    to_slow,
)
from vpngate.flows import sighting_of
from vpngate.flows.state import FlowState
from vpngate.kernel.detour.verdicts import FlowId, identity
from vpngate.packets import Family, FlowKey
from vpngate.policy import Standing, Throttle, Verdict, network_of
from vpngate.prefixes.intervals import Intervals
from vpngate.prefixes.rows import rows_of
from vpngate.recognition import Evidence, Sighting, Tunnel
from vpngate.registry import Registration, Registry
from vpngate.snapshot import Snapshot
from vpngate.timekeeping.moments import When


class Flows(NamedTuple):
    """What is up: confirmed flows by tunnel, and the verdicts in force."""

    confirmed: Mapping[Tunnel, Sequence[tuple[FlowKey, FlowState]]]
    slowed: Sequence[Throttle]

    @property
    def addresses(self) -> set[bytes]:
        """Of all ends."""
        found = {
            end.address
            for listed in self.confirmed.values()
            for key, _ in listed
            for end in (key.low, key.high)
        }
        for flow in self.slowed:
            found |= {flow.subscriber.address, flow.remote.address}
        return found


class Spared:
    """Who is left alone by sets of addresses, of a choice of addresses.

    `registry` is asked beside them, if there is one.
    """

    def __init__(
        self,
        addresses: Collection[bytes],
        *sets: Intervals,
        registry: Registry | None = None,
    ) -> None:
        self._registry = registry
        self._spared: set[bytes] = set()
        for family in Family:
            ours = [one for one in addresses if len(one) == family.width]
            rows = rows_of(b"".join(ours), family)
            for each in sets:
                inside = each.contains_each(rows).tolist()
                pairs = zip(ours, inside, strict=True)
                self._spared |= {one for one, yes in pairs if yes}

    def lookup(self, address: bytes, now: When) -> Registration | None:
        """The longest registration of an address that stands; a set names none."""
        return None if self._registry is None else self._registry.lookup(address, now)

    def protects(self, address: bytes) -> bool:
        """Whether it is one of them."""
        return address in self._spared


@dataclass(frozen=True)
class Acting:
    """A way of acting: by what, whom to leave alone, on which subscribers."""

    snapshot: Snapshot
    standing: Standing
    chooses: Callable[[bytes], bool]
    now: When

    def slows(self, sighting: Sighting) -> tuple[Throttle, ...]:
        """The verdicts that a confirmed flow would have."""
        if sighting.tunnel not in self.snapshot.tunnels:
            return ()
        decision = decision_on(sighting, self.snapshot, self.standing, self.now)
        if decision.verdict is not Verdict.THROTTLE:
            return ()
        return chosen(to_slow(sighting, self.snapshot), self.chooses)

    def keeps(self, verdicts: Iterable[Throttle]) -> tuple[Throttle, ...]:
        """Those of verdicts in force that would be given again."""
        names = {tunnel.name for tunnel in self.snapshot.tunnels}
        kept = [
            flow for flow in verdicts if flow.tunnel in names and not self._spares(flow)
        ]
        return chosen(kept, self.chooses)

    def _spares(self, flow: Throttle) -> bool:
        return any(
            self.standing.lookup(end.address, self.now) is not None
            or self.standing.protects(end.address)
            for end in (flow.subscriber, flow.remote)
        )


@dataclass(slots=True)
class TunnelOutlook:
    """Flows of one tunnel: how many are up, slowed before, after, and what differs.

    Subscribers are kept by their networks, to be counted.
    """

    up: int = 0
    before: int = 0
    after: int = 0
    newly: int = 0
    no_longer: int = 0
    subscribers: set[bytes] = field(default_factory=set)  # slowed after
    subscribers_newly: set[bytes] = field(default_factory=set)
    subscribers_no_longer: set[bytes] = field(default_factory=set)

    def note(self, was: set[bytes], will: set[bytes]) -> None:
        """One more flow that is up, and whose it is where it is slowed."""
        self.up += 1
        self.before += bool(was)
        self.after += bool(will)
        self.newly += bool(will) and not was
        self.no_longer += bool(was) and not will
        self.subscribers |= will
        self.subscribers_newly |= will - was
        self.subscribers_no_longer |= was - will


@dataclass(frozen=True)
class Outlook:
    """What would come of it, by tunnel.

    registered  flows that would be slowed although an end of them is to be left alone
    """

    tallies: Mapping[str, TunnelOutlook]
    registered: int


def outlook(
    flows: Flows,
    before: Acting | None,
    after: Acting,
    is_spared: Callable[[bytes], bool],
    subscriber_prefix: Mapping[Family, int],
) -> Outlook:
    """What `after` would do, as compared with `before`, or with what is slowed now.

    `is_spared` says of an address in another way whether it is to be left alone.
    `subscriber_prefix` is how much of an address counts as one subscriber, whatever a
    course would have it be: nobody may be made to count for several.
    """

    def whose(verdicts: Iterable[Throttle]) -> set[bytes]:
        ends = (flow.subscriber for flow in verdicts)
        return {network_of(e.address, subscriber_prefix[e.family]) for e in ends}

    tallies: dict[str, TunnelOutlook] = defaultdict(TunnelOutlook)
    registered = 0
    for tunnel, held, was_slowed, will_be_slowed in _each(flows, before, after):
        was = held if before is None else was_slowed
        tallies[tunnel].note(whose(was), whose(will_be_slowed))
        registered += any(
            is_spared(end.address)
            for flow in will_be_slowed
            for end in (flow.subscriber, flow.remote)
        )
    return Outlook(dict(tallies), registered)


_Judged = tuple[str, Sequence[Throttle], Sequence[Throttle], Sequence[Throttle]]


def _each(flows: Flows, before: Acting | None, after: Acting) -> Iterator[_Judged]:
    """Each flow's tunnel, its verdicts in force, and those before and after."""
    held = {identity(flow): flow for flow in flows.slowed}
    seen: set[FlowId] = set()
    for tunnel, listed in flows.confirmed.items():
        for key, state in listed:
            if state.evidence is not Evidence.CONFIRMED:
                continue
            sighting = sighting_of(tunnel, key, state, repeated=True)
            keys = map(identity, all_to_slow(sighting, after.snapshot))
            mine = [key for key in keys if key in held]
            seen.update(mine)
            was = () if before is None else before.slows(sighting)
            yield tunnel.name, [held[k] for k in mine], was, after.slows(sighting)
    for name, verdicts in _others(held, seen):
        kept = () if before is None else before.keeps(verdicts)
        yield name, verdicts, kept, after.keeps(verdicts)


def _others(
    held: Mapping[FlowId, Throttle], seen: Collection[FlowId]
) -> Iterator[tuple[str, Sequence[Throttle]]]:
    """The verdicts whose flows were forgotten, those on one flow together.

    A verdict lives while its packets come, a flow while handshakes do.
    """
    together: dict[tuple[str, FlowKey | None], list[Throttle]] = defaultdict(list)
    for key, flow in held.items():
        if key not in seen:
            together[flow.tunnel, flow.confirmed].append(flow)
    for (tunnel, _), verdicts in together.items():
        yield tunnel, verdicts
