# SPDX-License-Identifier: GPL-2.0-or-later
"""What the daemon acts on at one moment: configuration, registry, machine.

Knows how the three together answer "is this address left alone" and what the
kernel should hold; immutable, and replaced whole. Does not know where any of them
came from.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

from netaddr import IPNetwork

from vpngate.config import Config, Confirm, Mode, ReversePath, Side
from vpngate.errors import Problem
from vpngate.packets import Family, HookPoint, format_address
from vpngate.prefixes.intervals import Intervals
from vpngate.recognition import Gate, Gates, Tunnel
from vpngate.registry import Registration, Registry
from vpngate.ruleset import Ruleset
from vpngate.timekeeping.moments import When
from vpngate.tunnels import all_carriers, all_tunnels


def enabled_tunnels(config: Config) -> tuple[Tunnel, ...]:
    """The tunnels that the configuration has recognised."""
    return tuple(t for t in all_tunnels() if t.name in config.tunnels.enabled)


class LeftAlone(NamedTuple):
    """An interface that the configuration means and that is not attached.

    `awaited` is one that is not there.
    """

    interface: str
    what: str
    remedy: str
    awaited: bool = False

    @property
    def reason(self) -> str:
        """Why, and what to do."""
        return f"{self.what}; {self.remedy}"

    def __str__(self) -> str:
        return f"interface {self.interface}: left alone, since {self.reason}"


@dataclass(frozen=True)
class Machine:
    """The machine as far as it matters: where to attach, and its own addresses."""

    interfaces: tuple[str, ...] = ()
    addresses: frozenset[bytes] = frozenset()
    left_alone: tuple[LeftAlone, ...] = ()
    forgeable: tuple[Problem, ...] = ()  # why nobody may be slowed here
    networks: frozenset[IPNetwork] = frozenset()  # where subscribers are known to be


@dataclass(frozen=True, eq=False)
class Snapshot:
    """Configuration, registry and machine; a `policy.Standing`."""

    config: Config
    tunnels: tuple[Tunnel, ...]  # the enabled ones
    registry: Registry
    machine: Machine

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

        `spared` is what the kernel holds of this. What `[protect]` says is meant.
        """
        return [
            network
            for network in sorted(self.machine.networks)
            for one in [Intervals.of_prefixes([str(network)])]
            if spared.covers(one) and not self.protected.covers(one)
        ]

    def seen_by(self, config: Config, machine: Machine) -> "Snapshot":
        """On another machine, unless that was looked at for another configuration."""
        return replace(self, machine=machine) if self.config is config else self

    @property
    def enforcing(self) -> bool:
        """Whether verdicts are acted on at all."""
        asked_for = self.config.gateway.mode is Mode.ENFORCE
        return asked_for and not self.machine.forgeable

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

    def ruleset(self, now: When) -> Ruleset:
        """What the kernel should hold at `now`."""
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
            spared=self.registry.covered(now).union(self.protected),
        )
