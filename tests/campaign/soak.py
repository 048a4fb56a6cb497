# SPDX-License-Identifier: GPL-2.0-or-later
"""`python -m tests.campaign.soak`: an hour as any other, and nothing has grown.

A reload every five seconds, another registry each time, and fifty complete handshakes
a second of new tunnels. Knows how to sample the daemon and what is held against it at
the end: resident memory within five per cent of what it had when all was in, and no
descriptor more.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from tests.campaign import judge
from tests.campaign.callers import Callers, calling
from tests.campaign.campaign import FLOOR
from tests.campaign.fault import Cost
from tests.campaign.judge import Size
from tests.campaign.world import World, built

_RELOAD_EVERY = 5.0  # seconds
_HANDSHAKES = 50.0  # a second
_WARM = 300.0  # seconds until everything that ages has begun to go again
_SPAN = 60.0  # seconds at either end that are compared
_GROWTH = 0.05
_SEEN = 0.95  # of the handshakes, what is confirmed at least


@dataclass(frozen=True)
class Sample:
    """How big the daemon was, so many seconds after the start."""

    seconds: float
    size: Size


def _between(samples: Sequence[Sample], begin: float, end: float) -> list[Size]:
    return [one.size for one in samples if begin <= one.seconds <= end]


def growth(samples: Sequence[Sample]) -> tuple[list[str], list[str]]:
    """What is to be told of it, and what is held against it.

    Where the run was too short to be warm, its second half counts.
    """
    last = samples[-1].seconds
    warm = min(_WARM, last / 2)
    span = min(_SPAN, (last - warm) / 2)
    early = _between(samples, warm, warm + span)
    late = _between(samples, last - span, last)
    resident = [
        statistics.median(one.resident for one in some) for some in (early, late)
    ]
    descriptors = [min(one.descriptors for one in some) for some in (early, late)]
    share = resident[1] / resident[0] - 1
    told = [
        (
            f"resident: {resident[0]:.1f} MB after {warm:.0f} s,"
            f" {resident[1]:.1f} MB after {last:.0f} s ({share:+.1%})"
        ),
        f"descriptors: {descriptors[0]}, {descriptors[1]}",
        f"threads: {early[0].threads}, {late[-1].threads}",
    ]
    held = []
    if share > _GROWTH:
        held.append(f"resident memory has grown by {share:.1%}")
    if descriptors[1] > descriptors[0]:
        held.append(f"descriptors: {descriptors[1]}, before that {descriptors[0]}")
    return told, held


def _say(*lines: str) -> None:
    for line in lines:
        print(line, flush=True)  # noqa: T201 - the answer of a program


def _soaked(world: World, callers: Callers, seconds: float) -> list[Sample]:
    """Reload after reload; a sample before each."""
    begin = time.monotonic()
    samples: list[Sample] = []
    while (now := time.monotonic() - begin) < seconds:
        samples.append(Sample(now, world.subject.size()))
        if len(samples) % 12 == 1:
            size = samples[-1].size
            _say(
                f"{now:6.0f} s  {size.resident:6.1f} MB  {size.descriptors} descriptors"
                f"  {callers.sent} handshakes  {len(samples)} reloads"
            )
        world.subject.publisher.publish()
        refusal = world.reload()
        world.hold(not refusal, f"a good registry is refused: {refusal}")
        rest = begin + len(samples) * _RELOAD_EVERY - time.monotonic()
        time.sleep(max(0.0, rest))
    samples.append(Sample(time.monotonic() - begin, world.subject.size()))
    return samples


def _confirmed(world: World) -> float:
    return world.subject.running.metric(
        "vpngate_handshakes_total", tunnel="wireguard", evidence="confirmed"
    )


def soak(minutes: float) -> list[str]:
    """So many minutes; what is held against the daemon, nothing if all is well."""
    with built() as world:
        world.begin(enforcing=True)
        before, confirmed = world.watch.mark(), _confirmed(world)
        with calling(world.lab, _HANDSHAKES) as callers:
            samples = _soaked(world, callers, 60 * minutes)
        counted = world.watch.counted(before, world.watch.mark())
        world.wait(world.is_well, "well in the end", 60.0)
        seen = _confirmed(world) - confirmed
        told, held = growth(samples)
        _say(*told, f"handshakes: {callers.sent} sent, {seen:.0f} confirmed")
        if seen < _SEEN * callers.sent:
            held.append(f"of {callers.sent} handshakes {seen:.0f} were confirmed")
        return [
            *held,
            *world.found,
            *judge.in_all(Cost.NOTHING, counted, FLOOR, 1.0),
            *judge.unseemly(world.subject.said()),
        ]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.campaign.soak")
    parser.add_argument("--minutes", type=float, default=30.0)
    minutes = parser.parse_args().minutes
    if os.geteuid() != 0:
        _say("make soak: it needs root")
        return 1
    held = soak(minutes)
    _say(*(f"- {one}" for one in held), "soak: " + ("BROKEN" if held else "well"))
    return 1 if held else 0


if __name__ == "__main__":
    sys.exit(main())
