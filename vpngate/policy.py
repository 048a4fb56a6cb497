# SPDX-License-Identifier: GPL-2.0-or-later
"""From evidence and registry to a verdict, and what the kernel is to do with it.

Knows the rule of the house: a registered end, on either side, allows; only a
confirmed flow is ever slowed; in doubt, leave it alone. Does not know packets,
nftables, or the time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2b
from typing import TYPE_CHECKING, Protocol

from vpngate.packets import Direction, Endpoint, Family, FlowKey, Transport
from vpngate.recognition import Evidence, Sighting, Tunnel

if TYPE_CHECKING:
    from vpngate.registry import Registration
    from vpngate.timekeeping.moments import When


class Verdict(StrEnum):
    """What becomes of a flow. There is no verdict that blocks, by design."""

    NONE = "none"  # not confirmed: nothing is done
    ALLOW = "allow"  # registered or protected, at either end
    THROTTLE = "throttle"


class Standing(Protocol):
    """Who is to be left alone: what a decision needs of registry and protection."""

    def lookup(self, address: bytes, now: When) -> Registration | None:
        """The longest valid registration of an address, None if there is none."""
        ...

    def protects(self, address: bytes) -> bool:
        """Whether an address is never throttled, whatever the registry says."""
        ...


@dataclass(frozen=True, slots=True)
class Decision:
    """A verdict and, where a registration is the reason, which one."""

    verdict: Verdict
    registration: Registration | None = None


@dataclass(frozen=True, slots=True)
class Throttle:
    """One flow that the kernel is to slow.

    subscriber  the end on the subscriber side, remote the other; port 0 where the
                transport has none
    bucket      the subscriber's network (address masked by `subscriber_prefix`):
                flows of one bucket share its rate
    idle        seconds without a packet after which the verdict ends
    directions  those that count against the bucket
    tunnel      its name, and `confirmed` the flow that is the reason: what a verdict is
                told by, and nothing that tells two apart
    """

    transport: Transport
    subscriber: Endpoint
    remote: Endpoint
    bucket: bytes
    idle: int
    directions: tuple[Direction, ...] = tuple(Direction)
    tunnel: str = field(default="", compare=False)
    confirmed: FlowKey | None = field(default=None, compare=False)


def decide(
    sufficient: bool,  # noqa: FBT001 -- the one question evidence answers
    ends: Sequence[Endpoint],
    standing: Standing,
    now: When,
) -> Decision:
    """The verdict on a flow between `ends` at `now` (seconds since the epoch).

    A registration at either end is named also when the evidence is not sufficient.
    """
    registration = next(
        (r for end in ends if (r := standing.lookup(end.address, now))), None
    )
    if not sufficient:
        return Decision(Verdict.NONE, registration)
    if registration or any(standing.protects(end.address) for end in ends):
        return Decision(Verdict.ALLOW, registration)
    return Decision(Verdict.THROTTLE)


def is_sufficient(sighting: Sighting, *, one_way: bool) -> bool:
    """Whether evidence may be acted on; `one_way` as in `confirm = "one-way"`."""
    return sighting.evidence is Evidence.CONFIRMED or (one_way and sighting.one_way)


def network_of(address: bytes, prefix_length: int) -> bytes:
    """The address with every bit behind the prefix cleared: a subscriber's bucket."""
    width = 8 * len(address)
    host_bits = width - prefix_length
    value = int.from_bytes(address) >> host_bits << host_bits
    return value.to_bytes(len(address))


def throttles(
    tunnel: Tunnel,
    flow: FlowKey,
    subscribers: Sequence[bytes],
    subscriber_prefix: dict[Family, int],
) -> tuple[Throttle, ...]:
    """What the kernel is to slow for one confirmed flow of these addresses.

    Flows that the tunnel covers beside the confirmed one are turned the same way.
    Between two subscribers each direction counts against its sender's bucket alone.
    """
    alone = len(subscribers) == 1
    return tuple(
        Throttle(
            covered.transport,
            *_turned(covered, subscriber),
            network_of(subscriber, subscriber_prefix[flow.family]),
            tunnel.idle,
            tuple(Direction) if alone else (Direction.UPLOAD,),
            tunnel.name,
            flow,
        )
        for subscriber in subscribers
        for covered in tunnel.covers(flow)
    )


def _turned(flow: FlowKey, subscriber: bytes) -> tuple[Endpoint, Endpoint]:
    """The ends of a flow, the subscriber's first."""
    if flow.low.address == subscriber:
        return flow.low, flow.high
    return flow.high, flow.low


def is_chosen(bucket: bytes, key: bytes, share: float) -> bool:
    """Whether a subscriber belongs to the share (0 to 1) that is acted on.

    A keyed hash chooses, so that nobody outside can tell who, and the same key
    chooses the same subscribers; a larger share includes a smaller one.
    """
    digest = blake2b(bucket, key=key, digest_size=8).digest()
    return int.from_bytes(digest) < share * 2**64
