# SPDX-License-Identifier: GPL-2.0-or-later
"""What becomes of one flow by a snapshot: decided now, later, or in a preview alike.

Knows which questions are asked of a sighting, and which of its ends are subscribers;
does not know where snapshot and sighting come from, nor what is done about the answer.
"""

from collections.abc import Callable, Iterable

from vpngate.policy import (
    Decision,
    Standing,
    Throttle,
    decide,
    is_sufficient,
    throttles,
)
from vpngate.recognition import Sighting
from vpngate.snapshot import Snapshot
from vpngate.timekeeping.moments import When


def share_of(snapshot: Snapshot) -> float:
    """The share of the subscribers that is acted on, 0 to 1."""
    return snapshot.stance.share / 100


def decision_on(
    sighting: Sighting, snapshot: Snapshot, standing: Standing, now: When
) -> Decision:
    """The verdict on a flow; `standing` is who is to be left alone."""
    sufficient = is_sufficient(sighting, one_way=snapshot.one_way)
    ends = (sighting.initiator, sighting.responder)
    return decide(sufficient, ends, standing, now)


def to_slow(sighting: Sighting, snapshot: Snapshot) -> tuple[Throttle, ...]:
    """What a verdict on a flow is for, of its ends that are subscribers."""
    ends = (sighting.initiator, sighting.responder)
    subscribers = [
        end.address
        for end, crossed in zip(ends, sighting.crossing, strict=True)
        if snapshot.is_subscriber(crossed)
    ]
    prefix = snapshot.subscriber_prefix
    return throttles(sighting.tunnel, sighting.flow, subscribers, prefix)


def all_to_slow(sighting: Sighting, snapshot: Snapshot) -> tuple[Throttle, ...]:
    """What any verdict on a flow was for, wherever its ends were seen before."""
    ends = (sighting.initiator.address, sighting.responder.address)
    prefix = snapshot.subscriber_prefix
    return throttles(sighting.tunnel, sighting.flow, ends, prefix)


def chosen(
    flows: Iterable[Throttle], chooses: Callable[[bytes], bool]
) -> tuple[Throttle, ...]:
    """Those of subscribers that belong to the share; `chooses` tells by the bucket."""
    return tuple(flow for flow in flows if chooses(flow.bucket))
