# SPDX-License-Identifier: GPL-2.0-or-later
"""Two bits of one word tell that a flow has no verdict: never of one that has.

By the kernel's own hashes and memory, and its programs over packets. Flows are made to
share words and bits, and to have both bits in one place; what refuses changes is a hash
that is full, or any call.
"""

import errno
import mmap
import struct
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any

import pytest

from tests import rulesets
from tests.lab.bpf_keys import WORDS, Places, frame_of, key_at, places_of
from tests.lab.bpf_plane import TriedPlane
from vpngate.kernel.bpf.assembly import ActionCode
from vpngate.kernel.bpf.maps import Map
from vpngate.kernel.bpf.plane_maps import VERDICT
from vpngate.kernel.bpf.syscall import BpfRefused
from vpngate.kernel.programmed.flow_bits import FlowBits, FlowPlace
from vpngate.kernel.wire.failures import Rejected
from vpngate.packets import Direction, Family, HookPoint, Transport
from vpngate.prefixes.intervals import Intervals

ROOM = 8  # verdicts in a hash
FOREVER = (1 << 63) - 1
ONCE, AGAIN_AND_AGAIN = 0, 1  # of four ways: calls are refused
PORTED = (Transport.UDP, Transport.TCP)


class Tried:
    """A plane whose verdicts the daemon's own code writes."""

    def __init__(self, plane: TriedPlane) -> None:
        plane.arm(1 << 63)
        self.plane, self.flows = plane, FlowBits(plane.maps)
        filters = plane.maps.filters
        self.memory: dict[Direction, mmap.mmap] = {
            one: filters[one].mapped() for one in Direction
        }

    def slows(self, place: FlowPlace) -> bool:
        of = self.plane.told.direction
        point = next(one for one in HookPoint if of(one) is place.direction)
        met = self.plane.meet(point, frame_of(place.family, place.key)).returned
        assert met in (ActionCode.REDIRECT, ActionCode.NEXT)
        return met == ActionCode.REDIRECT

    def there(self) -> set[FlowPlace]:
        """Whatever is in the kernel's hashes."""
        return {
            FlowPlace(direction, keys[at : at + one.layout.key])
            for (direction, _), one in self.plane.maps.verdicts.items()
            for keys, _, _ in one.items()
            for at in range(0, len(keys), one.layout.key)
        }

    def check(self, flows: Sequence[FlowPlace], *, by_packets: bool) -> set[FlowPlace]:
        """Bits are those of what is there, and no others; so packets fare."""
        there = self.there()
        for direction in Direction:
            wanted = bytearray(WORDS * 8)
            for place in there:
                if place.direction is direction:
                    for bit in places_of(place.key).bits:
                        wanted[bit // 8] |= 1 << bit % 8
            assert self.memory[direction][:] == wanted
        if by_packets:
            assert {one for one in flows if self.slows(one)} == there
        return there


@pytest.fixture
def tried() -> Iterator[Tried]:
    with TriedPlane(rulesets.RULESET, Intervals.empty(), ROOM) as plane:
        yield Tried(plane)


def value(number: int = 7) -> bytes:
    return struct.pack(VERDICT, number, 5, 180, 0, FOREVER)


def chosen(rng: Random) -> Iterator[Places]:
    """Each place of either bit, also both in one; either end of the table."""
    for at in range(64):
        yield Places(rng.randrange(WORDS), at, rng.randrange(64))
        yield Places(rng.randrange(WORDS), rng.randrange(64), at)
        yield Places(rng.choice((0, WORDS - 1)), at, at)


@pytest.mark.parametrize("direction", Direction)
@pytest.mark.parametrize("family", Family, ids=lambda one: one.label)
def test_programs_look_at_these_two_bits_and_no_others(
    tried: Tried, family: Family, direction: Direction
) -> None:
    rng, memory = Random(20), tried.memory[direction]
    verdicts, size = tried.plane.maps.verdicts[direction, family], WORDS * 8
    for number, places in enumerate(chosen(rng)):
        key = key_at(places, rng, family, PORTED[number % 2])
        assert places_of(key) == places
        place = FlowPlace(direction, key)
        verdicts.put(key, value())
        memory[:] = b"\xff" * size
        for bit in places.bits:
            memory[bit // 8] ^= 1 << bit % 8
            assert not tried.slows(place), places
            memory[bit // 8] ^= 1 << bit % 8
        memory[:] = bytes(size)
        for bit in places.bits:
            memory[bit // 8] |= 1 << bit % 8
        assert tried.slows(place), places
        verdicts.remove(key)
        assert not tried.slows(place), places  # looked up for nothing


@pytest.mark.parametrize(
    "others",
    [
        pytest.param([Places(9, 5, 20), Places(9, 44, 40)], id="one bit each"),
        pytest.param([Places(9, 40, 5)], id="the same two, the other way round"),
        pytest.param([Places(9, 5, 5), Places(9, 40, 40)], id="both in one place"),
        pytest.param([Places(9, 5, 40), Places(9, 5, 5)], id="the very same"),
        pytest.param([Places(9, 6, 41), Places(8, 5, 40)], id="only the word"),
    ],
)
@pytest.mark.parametrize("own", [Places(9, 5, 40), Places(9, 5, 5)], ids=["two", "one"])
def test_a_flow_fares_by_its_own_verdict_whoever_shares_its_bits(
    tried: Tried, own: Places, others: Sequence[Places]
) -> None:
    rng = Random(21)
    # Some shared ones are the other family's: bits are a direction's.
    mine = FlowPlace(Direction.UPLOAD, key_at(own, rng))
    theirs = [
        FlowPlace(Direction.UPLOAD, key_at(one, rng, family))
        for one, family in zip(others, reversed(Family), strict=False)
    ]
    every = [mine, *theirs, FlowPlace(Direction.DOWNLOAD, mine.key)]
    change = tried.flows.change_all
    change([one.putting(value()) for one in theirs])
    assert tried.check(every, by_packets=True) == set(theirs)
    change([mine.putting(value())])
    assert tried.check(every, by_packets=True) == {mine, *theirs}
    change([mine.putting(value(8))])  # anew: it counts once
    change([one.taking_out() for one in theirs])
    assert tried.check(every, by_packets=True) == {mine}
    change([one.putting(value()) for one in theirs] + [mine.taking_out()])
    assert tried.check(every, by_packets=True) == set(theirs)
    change([one.taking_out() for one in every])
    assert not tried.check(every, by_packets=True)


class Refusing:
    """Refuses some calls to the kernel, from one on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._left: list[bool] = []
        for name in ("put", "remove", "get"):
            monkeypatch.setattr(Map, name, self._guarded(getattr(Map, name)))

    def these(self, left: list[bool]) -> None:
        """Of the calls to come; what is behind them is let through."""
        self._left = left

    def _guarded(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if self._left and self._left.pop(0):
                raise BpfRefused("do that", errno.ENOMEM)
            return real(*args, **kwargs)

        return call


def a_pool(rng: Random) -> list[FlowPlace]:
    """Flows that share: a few words of a direction, a few bits of a word."""
    words, bits = rng.sample(range(WORDS), 2), rng.sample(range(64), 3)
    return [
        FlowPlace(
            rng.choice(list(Direction)),
            key_at(
                Places(rng.choice(words), rng.choice(bits), rng.choice(bits)),
                rng,
                rng.choice(list(Family)),
                rng.choice(PORTED),
            ),
        )
        for _ in range(48)
    ]


def a_change(rng: Random, pool: Sequence[FlowPlace]) -> tuple[bytes, FlowPlace, bool]:
    place, puts = rng.choice(pool), rng.random() < 0.55
    number = rng.randrange(1, 100)
    return (place.putting(value(number)) if puts else place.taking_out()), place, puts


def after(
    there: set[FlowPlace], changes: Sequence[tuple[bytes, FlowPlace, bool]]
) -> set[FlowPlace] | None:
    """Plainly: what is there then; None: at some time it does not fit."""
    changed = set(there)
    for _, place, puts in changes:
        (changed.add if puts else changed.discard)(place)
        beside = [
            one
            for one in changed
            if (one.direction, one.family) == (place.direction, place.family)
        ]
        if len(beside) > ROOM:
            return None
    return changed


@pytest.mark.parametrize("seed", range(6))
def test_bits_are_those_of_the_flows_there_after_any_history(
    tried: Tried, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng, refusing = Random(seed), Refusing(monkeypatch)
    pool, there = a_pool(rng), set[FlowPlace]()
    full = refused = not_undone = 0
    for step in range(400):
        changes = [a_change(rng, pool) for _ in range(rng.randint(1, 8))]
        wanted = after(there, changes)
        how = rng.randrange(4)
        if how == ONCE and wanted is not None:  # or it might be on the way back
            refusing.these([False] * rng.randrange(12) + [True])
        elif how == AGAIN_AND_AGAIN:
            later = rng.choices((True, False), k=20)
            refusing.these([False] * rng.randrange(12) + later)
        try:
            tried.flows.change_all([change for change, _, _ in changes])
            assert wanted is not None
        except Rejected:
            full += wanted is None
            refused += wanted is not None
            wanted = there
        refusing.these([])
        found = tried.check(pool, by_packets=not step % 20)
        assert found == wanted or how == AGAIN_AND_AGAIN
        not_undone += found != wanted
        there = found
    assert min(full, refused, not_undone) > 10, (full, refused, not_undone)
    tried.flows.change_all([one.taking_out() for one in pool])
    assert not tried.check(pool, by_packets=True)
    assert not any(any(memory[:]) for memory in tried.memory.values())
