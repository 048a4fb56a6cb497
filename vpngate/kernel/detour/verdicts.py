# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel is believed to hold: verdicts, and the buckets they fill.

Knows which flows were handed to the kernel, which place each bucket has, and when it
is time to ask whether a verdict still lives (the kernel ends it when its packets stay
away, and tells nobody). Does not know netlink; the time comes in as an argument, in
seconds of a clock that never jumps.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from vpngate.kernel.shaping.places import IfbPlaces, ifb_of
from vpngate.packets import Endpoint, Family, Transport
from vpngate.policy import Throttle

_SLOT = 5.0  # seconds: how exactly verdicts are looked after


class FlowId(NamedTuple):
    """What a verdict map tells flows apart by."""

    transport: Transport
    subscriber: Endpoint
    remote: Endpoint


@dataclass(slots=True)
class HeldVerdict:
    """A verdict as handed to the kernel. Ended ones stay until the kernel agrees.

    `device` is the index of the ifb that the kernel was told.
    """

    flow: Throttle
    place: int
    ended: bool = False
    device: int = 0


def identity(flow: Throttle) -> FlowId:
    """The key of a flow."""
    return FlowId(flow.transport, flow.subscriber, flow.remote)


def any_of(subscriber: bytes, held: Iterable[HeldVerdict]) -> bool:
    """Whether one of these verdicts is in force on a flow of this address."""
    return any(
        one.flow.subscriber.address == subscriber for one in held if not one.ended
    )


class Verdicts:
    """The mirror of the kernel's verdict maps."""

    def __init__(self, places: IfbPlaces | None = None) -> None:
        """`places` is where buckets are dealt out from, else all that there may be."""
        self._held: dict[FlowId, HeldVerdict] = {}
        self._due: dict[int, list[FlowId]] = defaultdict(list)
        self._places: dict[bytes, int] = {}
        # For each place, its owners, and the verdicts that each of them has.
        self._buckets: dict[int, dict[bytes, set[FlowId]]] = {}
        self._all_places = IfbPlaces() if places is None else places
        self._live = {family: Counter[str]() for family in Family}
        self._slowed: Counter[bytes] = Counter()  # verdicts in force, by bucket

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[HeldVerdict]:
        return iter(self._held.values())

    @property
    def live(self) -> dict[Family, int]:
        """Verdicts in force, by family."""
        return {family: tunnels.total() for family, tunnels in self._live.items()}

    @property
    def live_by_tunnel(self) -> dict[Family, dict[str, int]]:
        """The same, by family and name of the tunnel."""
        return {family: dict(tunnels) for family, tunnels in self._live.items()}

    @property
    def subscribers(self) -> int:
        """Subscribers of whom a verdict is in force."""
        return len(self._slowed)

    @property
    def shared(self) -> int:
        """Subscribers that have to share a bucket with another."""
        return len(self._places) - len(self._buckets)

    @property
    def buckets(self) -> int:
        """How many places verdicts lead to."""
        return len(self._buckets)

    def place_of(self, bucket: bytes) -> int | None:
        """Where a bucket is; None while nothing of it is slowed."""
        return self._places.get(bucket)

    def of_bucket(self, bucket: bytes) -> list[HeldVerdict]:
        """The verdicts of a bucket, ended or not."""
        place = self._places.get(bucket)
        keys = () if place is None else self._buckets[place][bucket]
        return [self._held[key] for key in keys]

    @property
    def places(self) -> Iterator[int]:
        """The places that verdicts lead to."""
        return iter(self._buckets)

    def on(self, ifb: int) -> Iterator[FlowId]:
        """The flows that wait on an ifb; they may come and go while it is asked."""
        keys = list(self._held)
        return (
            key
            for key in keys
            if (held := self._held.get(key)) is not None and ifb_of(held.place) == ifb
        )

    def keys(self) -> Iterable[FlowId]:
        """The flows of all verdicts, ended or not, as they are at this moment."""
        return list(self._held)

    def get(self, key: FlowId) -> HeldVerdict | None:
        """The verdict on a flow, ended or not."""
        return self._held.get(key)

    def add(self, flow: Throttle, now: float) -> HeldVerdict:
        """Note a verdict that is about to be handed to the kernel, or given anew."""
        key = identity(flow)
        old = self._held.get(key)
        place = self._places.get(flow.bucket)
        if place is None:
            place = self._all_places.take(flow.bucket)
        owners = self._buckets.setdefault(place, {})
        owners.setdefault(flow.bucket, set()).add(key)
        self._places[flow.bucket] = place
        self._live[flow.subscriber.family][flow.tunnel] += 1
        self._slowed[flow.bucket] += 1
        if old is not None:
            self._replaced(old, flow.bucket)
        held = HeldVerdict(flow, place)
        self._held[key] = held
        self._ask_at(key, now + flow.idle)
        return held

    def end(self, key: FlowId, now: float) -> None:
        """Note that the kernel was told to end a verdict; it is asked once more.

        One that has been forgotten meanwhile is no matter.
        """
        held = self._held.get(key)
        if held is not None and not held.ended:
            held.ended = True
            self._no_longer(held.flow)
            self._ask_at(key, now)

    def forget(self, key: FlowId) -> None:
        """Note that the kernel no longer has a verdict."""
        self._leave(self._held.pop(key))

    def clear(self) -> None:
        """Note that the kernel has no verdict at all."""
        for key in list(self._held):
            self.forget(key)
        self._due.clear()

    def due(self, now: float) -> list[FlowId]:
        """The flows whose verdicts may have ended by now, each once."""
        keys = self.take_due(now)
        return [key for key in dict.fromkeys(keys) if key in self._held]

    def take_due(self, now: float) -> list[FlowId]:
        """The same as fast as can be: some twice, and some that were forgotten."""
        slots = sorted(slot for slot in self._due if slot * _SLOT <= now)
        return [key for slot in slots for key in self._due.pop(slot)]

    def postpone(self, key: FlowId, until: float) -> None:
        """Ask about a verdict again at that time."""
        self._ask_at(key, until)

    def chosen(self, predicate: Callable[[Throttle], bool]) -> list[FlowId]:
        """The flows in force that a predicate picks."""
        return [
            key
            for key, held in self._held.items()
            if not held.ended and predicate(held.flow)
        ]

    def _ask_at(self, key: FlowId, when: float) -> None:
        self._due[int(when // _SLOT) + 1].append(key)

    def _no_longer(self, flow: Throttle) -> None:
        """Take a verdict that was in force out of what is counted."""
        self._live[flow.subscriber.family][flow.tunnel] -= 1
        self._slowed[flow.bucket] -= 1
        if not self._slowed[flow.bucket]:
            del self._slowed[flow.bucket]

    def _replaced(self, old: HeldVerdict, bucket: bytes) -> None:
        """Take out a verdict whose flow has another one now, in `bucket`."""
        if old.flow.bucket != bucket:
            self._leave(old)
        elif not old.ended:
            self._no_longer(old.flow)

    def _leave(self, held: HeldVerdict) -> None:
        """Take a verdict out of its bucket, and the bucket away with the last."""
        if not held.ended:
            self._no_longer(held.flow)
        owners = self._buckets[held.place]
        bucket = held.flow.bucket
        owners[bucket].discard(identity(held.flow))
        if not owners[bucket]:
            del owners[bucket], self._places[bucket]
            if not owners:
                del self._buckets[held.place]
                self._all_places.give_back(held.place)
