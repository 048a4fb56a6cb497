# SPDX-License-Identifier: GPL-2.0-or-later
"""How "throttled" and "untouched" are shown, on a machine that is busy otherwise, too.

Knows the measures that every test uses; does not know who should be slow. None asks
for an absolute share or speed: a program that is not scheduled sends late, and what
waits for it is dropped, whatever vpngate does.

A throttled flow is offered three times its rate and judged by the bytes its class of
the shaper passed while packets waited for it (`class_rates`).

An untouched one is judged twice (`beside`). By the kernel's counters: nothing of it
went through the shaper. And by a control: the same kind of flow at the same time,
through the same gateway, by interfaces that vpngate has no hook on. What the machine
does to one it does to the other.
"""

import contextlib
import statistics
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import NamedTuple

from tests.lab import load
from tests.lab.load import Arrivals, Exchange, Shaped
from tests.lab.namespaces import LabError
from tests.lab.topology import Place, Site

RATE = 5e6  # bit/s, as config/ is shipped
SETTLING = 2.0  # seconds
TOLERANCE = 0.10
IN_TUNNEL = 20e6  # bit/s offered inside an untouched tunnel
PLAIN = 100e6  # bit/s offered outside
ENOUGH = 0.98  # share of the load that arrives, of what arrives of a control's
NOTHING = 0.01  # share of a flow in the shaper: others' keepalives, no flow of its own

LIKE_CONTROL = 0.9  # of the share of a control flow, what nobody slows has at least

_LENGTH = 1.5  # seconds that an untouched flow is offered its load
_ATTEMPTS = 5
_VISIBLE = 1.2  # of a class's rate: what has to be offered to see that it is slowed
_PLAIN_SIZE = 1400  # bytes: full packets, as a download has them
_TELLING = 3  # times the limit that have to arrive: else a slowed flow may look alike

_TO_BE_SEEN = 0.5  # of a class's rate: far more than what waits for it, in `_LENGTH`
_WARMING = 1.0  # seconds for a class to fill its queue, and to spend its burst
_EVERY = 0.25  # seconds between two looks at the classes
_WINDOW = 4  # looks: a second, in which the moment of a look matters little
_WINDOWS = 6  # of a class that always has something to pass
_LONGEST = 20.0  # seconds, for a sender that seldom comes to it
_IDLE = 0.05  # a class that passes less than this share of the rate carries answers


class Way(NamedTuple):
    """From where to where a flow is sent."""

    sender: Place
    receiver: Place

    @property
    def back(self) -> "Way":
        return Way(self.receiver, self.sender)


@dataclass(frozen=True)
class Untouched:
    """What an untouched flow was offered and what arrived."""

    load: float  # bit/s that was meant to be offered
    arrivals: Arrivals

    @property
    def share(self) -> float:
        return self.arrivals.share


@dataclass(frozen=True)
class Beside:
    """A flow, and a control beside it that vpngate cannot see."""

    received: int  # datagrams of the flow
    share: float  # of the flow that arrived, 0 to 1
    control: float  # of the control that arrived, 0 to 1
    shaped: float  # bytes in the shaper meanwhile, for one of payload that was sent

    @property
    def faults(self) -> list[str]:
        """In which ways the flow was not left alone; none if it was."""
        found = []
        if self.shaped > NOTHING:
            found.append(f"{self.shaped:.1%} of it went through the shaper")
        if self.share < ENOUGH * self.control:
            found.append(f"{self.share:.1%} arrived, {self.control:.1%} of the control")
        return found


def class_rates(
    lab: Site,
    sender: Place,
    receiver: Place,
    *,
    rate: float = RATE,
    pull: bool = False,
    both_ports: int | None = None,
) -> list[float]:
    """bit/s of each busy class of the shaper under three times the rate.

    One number per bucket that the flow's packets went through: a single one when
    all is well, none when the flow is not throttled. It is measured while packets
    wait for the class: a sender that is late for once does not lower it.
    """
    with load.stream(
        sender, receiver, rate=3 * rate, pull=pull, both_ports=both_ports
    ) as stream:
        found = rates_of(lambda: load.shaped(lab.gateway), rate)
        stream.stop()  # when the queue is empty: it is not the next one's
    return list(found.values())


def rates_of(look: Callable[[], dict[str, Shaped]], rate: float) -> dict[str, float]:
    """bit/s of each busy class by its name, under more load than it may pass.

    `look` tells what the classes are at, `rate` is what one is thought to have: whose
    mean is far below is not busy. Takes as long as there have to be seconds to judge.
    """
    time.sleep(_WARMING)
    begin = time.monotonic()
    looks = [look()]
    while True:
        time.sleep(_EVERY)
        looks.append(look())
        found = {name: _Class.of(looks, name) for name in looks[-1]}
        busy = {name: one for name, one in found.items() if one.mean > _IDLE * rate}
        enough = len(looks) >= _WINDOW + _WINDOWS
        full = all(len(one.windows) >= _WINDOWS for one in busy.values())
        if enough and (full or time.monotonic() - begin > _LONGEST):
            return {name: one.rate for name, one in busy.items()}


@dataclass(frozen=True)
class _Class:
    """What a class passed: in all, and in each second that it was never empty."""

    mean: float  # bit/s
    windows: list[float]  # bit/s

    @classmethod
    def of(cls, looks: Sequence[dict[str, Shaped]], name: str) -> "_Class":
        seen = [look[name] for look in looks if name in look]
        spans = (seen[at : at + _WINDOW + 1] for at in range(len(seen) - _WINDOW))
        return cls(
            mean=seen[-1].rate_since(seen[0]) if len(seen) > 1 else 0.0,
            windows=[
                span[-1].rate_since(span[0])
                for span in spans
                if all(one.waiting for one in span)
            ],
        )

    @property
    def rate(self) -> float:
        """The usual one of those seconds; the mean, if the class passed more."""
        usual = statistics.median(self.windows) if self.windows else 0.0
        return max(usual, self.mean)


def beside(
    lab: Site,
    flow: Way,
    control: Way,
    *,
    rate: float = IN_TUNNEL,
    size: int = 1200,
    pull: bool = False,
    slowed: Collection[str] = (),
    limit: float = RATE,
    both_ports: int | None = None,
) -> Beside:
    """A fixed load on both ways at the same time.

    `control` is a way like `flow`, through the gateway as well, past vpngate's hooks:
    between member and stranger. Again where the control itself did not arrive, or the
    flow alone did not: a tunnel in user space that has to wait for its turn loses some,
    what is slowed loses it each time. What the attempts came to is added up, and what
    the shaper had of any counts in any case. `slowed` names the classes of the shaper
    that carry what others send; in the rest there may be no other traffic. LabError
    where too little arrived to tell a flow slowed to `limit` bit/s from another.
    """
    made: list[tuple[Arrivals, Arrivals, int]] = []
    for _ in range(_ATTEMPTS):
        before = _in_shaper(lab, slowed)
        with contextlib.ExitStack() as stack:
            both = [
                stack.enter_context(
                    load.stream(
                        *way,
                        rate=rate,
                        seconds=_LENGTH,
                        size=size,
                        pull=pull,
                        both_ports=both_ports,
                    )
                )
                for way in (flow, control)
            ]
            with ThreadPoolExecutor() as pool:
                own, other = pool.map(lambda one: one.wait(_LENGTH), both)
        shaped = _in_shaper(lab, slowed) - before
        made.append((own, other, shaped))
        told = other.share >= ENOUGH and other.arrived_rate >= _TELLING * limit
        if told and own.share >= ENOUGH * other.share:
            return replace(_added_up(made[-1:]), shaped=_added_up(made).shaped)
    carried = statistics.mean(other.arrived_rate for _, other, _ in made)
    if carried < _TELLING * limit:
        raise LabError(f"this machine carried {carried / 1e6:.1f} Mbit/s past vpngate")
    return _added_up(made)


def _in_shaper(lab: Site, without: Collection[str]) -> int:
    """Bytes that have passed all its classes but these."""
    passed = load.shaped_bytes(lab.gateway)
    return sum(count for name, count in passed.items() if name not in without)


def _added_up(made: Sequence[tuple[Arrivals, Arrivals, int]]) -> Beside:
    flows, controls, shaped = zip(*made, strict=True)
    received, sent = (sum(getattr(a, n) for a in flows) for n in ("received", "sent"))
    return Beside(
        received=received,
        share=received / sent,
        control=sum(a.received for a in controls) / sum(a.sent for a in controls),
        shaped=sum(shaped) / (sent * flows[0].size),
    )


def beside_plain(lab: Site, flow: Way, control: Way, *, pull: bool = False) -> Beside:
    """The same with ordinary datagrams; `pull` where the receiver has to begin."""
    return beside(lab, flow, control, rate=PLAIN, size=_PLAIN_SIZE, pull=pull)


def slowed_meanwhile(lab: Site, stream: load.Stream) -> tuple[int, Arrivals]:
    """Bytes that come to the shaper in the next seconds, beside a stream.

    Counted by the kernel: a machine that is busy looks later, and counts no others. The
    stream is ended. LabError where so little of it arrived that a class might have
    passed as much unseen.
    """
    early = load.shaped(lab.gateway)
    begin = time.monotonic()
    time.sleep(_LENGTH)
    end = time.monotonic()
    late = load.shaped(lab.gateway)
    arrivals = stream.stop()
    arrived = arrivals.rate_between(begin, end)
    if arrived < _TO_BE_SEEN * RATE:
        raise LabError(f"{arrived / 1e6:.1f} Mbit/s arrived: too little to tell")
    return load.came_to(early, late), arrivals


def class_rates_under(
    lab: Site,
    offered: Iterable[contextlib.AbstractContextManager[object]],
    *,
    rate: float = RATE,
) -> list[float]:
    """The same under several streams at once, or whatever else lasts for a block."""
    with contextlib.ExitStack() as stack:
        for one in offered:
            stack.enter_context(one)
        return list(rates_of(lambda: load.shaped(lab.gateway), rate).values())


def both_ways(
    one: Place,
    other: Place,
    *,
    rate: float = RATE,
    ports: tuple[int, int] | None = None,
) -> contextlib.AbstractContextManager[Exchange]:
    """Three times the rate in each direction of one flow."""
    return load.exchange(one, other, up=3 * rate, down=3 * rate, ports=ports)


def untouched_tunnel(
    sender: Place, receiver: Place, *, rate: float = IN_TUNNEL
) -> Untouched:
    """A fixed load inside a tunnel, with no control: `beside` tells more."""
    return _offer(sender, receiver, rate, 1200, pull=False)


def untouched_plain(sender: Place, receiver: Place, *, pull: bool = False) -> Untouched:
    """A fixed load of ordinary datagrams, with no control: `beside` tells more."""
    return _offer(sender, receiver, PLAIN, _PLAIN_SIZE, pull=pull)


def share_of_control(flow: Arrivals, control: Arrivals) -> float:
    """The share of a flow that arrived, as a part of that of a control beside it.

    A busy machine slows both; what a class slows gets less than half of it, unless it
    was offered so little that the class would let it pass.
    """
    if min(flow.offered_rate, control.offered_rate) < _VISIBLE * RATE:
        offered = f"{flow.offered_rate / 1e6:.0f} Mbit/s"
        raise LabError(f"this machine offered {offered}: too little to tell")
    return flow.share / control.share


def _offer(
    sender: Place, receiver: Place, rate: float, size: int, *, pull: bool
) -> Untouched:
    """The load, again where a busy machine could not offer enough of it."""
    for _ in range(_ATTEMPTS):
        arrivals = load.run_stream(
            sender, receiver, rate=rate, seconds=_LENGTH, size=size, pull=pull
        )
        if arrivals.offered_rate >= _TELLING * RATE:
            return Untouched(rate, arrivals)
    offered = f"{arrivals.offered_rate / 1e6:.0f} Mbit/s"
    raise LabError(f"this machine offered {offered} of {rate / 1e6:.0f}")
