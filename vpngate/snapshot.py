# SPDX-License-Identifier: GPL-2.0-or-later
"""What is acted on at one moment: configuration, registry, machine, stance.

Knows how they together answer "is this address left alone" and what the
kernel should hold; immutable, and replaced whole. Does not know where any of them
came from.
"""

from dataclasses import dataclass, field
from functools import cached_property

from netaddr import IPNetwork

from vpngate.attachment.machine import Machine
from vpngate.config import Config, Confirm, ReversePath, Side, objections
from vpngate.errors import Problem
from vpngate.packets import Family, HookPoint, format_address
from vpngate.policy import is_chosen
from vpngate.prefixes.intervals import Intervals
from vpngate.recognition import Gate, Gates, Tunnel
from vpngate.registry import Registration, Registry
from vpngate.ruleset import Ruleset
from vpngate.stance import ALL, Stance, first_stance
from vpngate.timekeeping.moments import When
from vpngate.tunnels import all_carriers, all_tunnels


def enabled_tunnels(config: Config) -> tuple[Tunnel, ...]:
    """The tunnels that the configuration has recognised."""
    return tuple(t for t in all_tunnels() if t.name in config.tunnels.enabled)


def stance_of(config: Config) -> Stance:
    """The stance that a configuration by itself calls for."""
    return first_stance(config.gateway.mode, config.gateway.enforce_share)


@dataclass(frozen=True, eq=False)
class Snapshot:
    """Configuration, registry, machine and stance; a `policy.Standing`.

    share_key  chooses the share of the subscribers that is acted on; a secret
    """

    config: Config
    tunnels: tuple[Tunnel, ...]  # the enabled ones
    registry: Registry
    machine: Machine
    stance: Stance
    share_key: bytes = field(default=b"", repr=False)

    @cached_property
    def protected(self) -> Intervals:
        """What is never throttled, whatever the registry says."""
        listed = Intervals.of_prefixes(map(str, self.config.protect.prefixes))
        own = Intervals.of_prefixes(
            f"{format_address(address)}/{8 * len(address)}"
            for address in self.machine.addresses
        )
        return listed.union(own)

    def spared_networks(self, spared: Intervals) -> list[IPNetwork]:
        """The subscribers' networks that are left alone as a whole.

        `spared` is what the registry spares. What `[protect]` says is meant.
        """
        return [
            network
            for network in sorted(self.machine.networks)
            for one in [Intervals.of_prefixes([str(network)])]
            if spared.covers(one) and not self.protected.covers(one)
        ]

    @property
    def enforcing(self) -> bool:
        """Whether verdicts are acted on at all."""
        return self.stance.enforcing and not self.objections

    @property
    def suspended(self) -> tuple[Problem, ...]:
        """What keeps verdicts from being acted on, although they should be."""
        return self.objections if self.stance.enforcing else ()

    @cached_property
    def objections(self) -> tuple[Problem, ...]:
        """What speaks against acting on verdicts here, whatever the stance."""
        by_registry: tuple[Problem, ...] = ()
        if self.registry.suspend:
            what = f"asks that nobody be slowed ({self.registry.suspend})"
            remedy = "it takes a registry that does not, and a person's word"
            by_registry = (Problem("the registry in force", what, remedy),)
        return (*objections(self.config), *self.machine.forgeable, *by_registry)

    def chooses(self, bucket: bytes) -> bool:
        """Whether a subscriber belongs to the share that is acted on."""
        return is_chosen(bucket, self.share_key, self.stance.share / ALL)

    @property
    def one_way(self) -> bool:
        """Whether a first message alone may be enough."""
        return self.config.tunnels.confirm is Confirm.ONE_WAY

    @cached_property
    def subscriber_prefix(self) -> dict[Family, int]:
        """Bits of an address that name a subscriber."""
        lengths = self.config.throttle.subscriber_prefix
        return {family: lengths.of(family) for family in Family}

    def lookup(self, address: bytes, now: When) -> Registration | None:
        """The longest registration of an address that stands, None if none does."""
        return self.registry.lookup(address, now)

    def protects(self, address: bytes) -> bool:
        """Whether an address is protected, or the gateway's own."""
        return self.protected.contains(address)

    def gate(self, point: HookPoint, interface: int) -> Gate:
        """What a packet crossed at the hook of an interface, as far as it matters.

        Where nobody asks for the way back to its source, both halves of a confirmation
        have to cross one interface: a frame does not leave a bridge where it came in,
        but a forged one is handed to every other port.
        """
        strict = self.config.gateway.reverse_path is ReversePath.STRICT
        return Gate(point, 0 if strict else interface)

    def is_subscriber(self, crossed: Gates) -> bool:
        """Whether an end is a subscriber, by where its packets crossed.

        What passes from one uplink to another (both hooks, on that side) is nobody's.
        """
        points = {gate.point for gate in crossed if gate is not None}
        if self.config.gateway.side is Side.SUBSCRIBER:
            return HookPoint.INGRESS in points
        return points == {HookPoint.EGRESS}

    def ruleset(self, now: When, spared: Intervals | None = None) -> Ruleset:
        """What the kernel should hold at `now`, beside what is `protected`.

        `spared` is whom the registry spares then, if that is known: a million prefixes
        take a second to merge.
        """
        gateway, capture = self.config.gateway, self.config.capture
        return Ruleset(
            table=gateway.table,
            interfaces=self.machine.interfaces,
            subscriber_side=gateway.side is Side.SUBSCRIBER,
            hook_priority=gateway.hook_priority,
            enforce=self.enforcing,
            deadman=gateway.deadman,
            rate=self.config.throttle.rate,
            max_flows=self.config.throttle.max_flows,
            signatures=tuple(s for tunnel in self.tunnels for s in tunnel.signatures),
            carriers=all_carriers(),
            nflog_group=capture.nflog_group,
            packets_per_second=capture.packets_per_second,
            reverse_path=gateway.reverse_path is ReversePath.STRICT,
            spared=self.registry.covered(now) if spared is None else spared,
        )


def tell_spared(network: IPNetwork) -> str:
    """What it means that the registry covers a network of subscribers."""
    return (
        f"{network}: the registry covers this network on the subscriber side, so that"
        " nobody in it is ever slowed; see whether that is meant"
    )
