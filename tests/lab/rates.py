# SPDX-License-Identifier: GPL-2.0-or-later
"""How "throttled" and "untouched" are shown: by rates held, never by speed reached.

Knows the three measures that every test uses; does not know who should be slow. A
throttled flow is offered three times its rate and judged by the bytes its class of
the shaper passed; an untouched one is offered a fixed load and judged by what of it
arrived, a stream in the background by its numbers.
"""

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass

from tests.lab import load
from tests.lab.load import Arrivals, Exchange
from tests.lab.namespaces import LabError
from tests.lab.topology import Place, Site

RATE = 5e6  # bit/s, as config/ is shipped
SETTLING = 2.0  # seconds
MEASURING = 5.0  # seconds
TOLERANCE = 0.10
IN_TUNNEL = 50e6  # bit/s offered inside an untouched tunnel
PLAIN = 500e6  # bit/s offered outside
ENOUGH = 0.98  # share of the load that arrives

LIKE_CONTROL = 0.9  # of the share of a control flow, what nobody slows has at least

_LENGTH = 2.0  # seconds that an untouched flow is offered its load
_ATTEMPTS = 5
_VISIBLE = 1.2  # of a class's rate: what has to be offered to see that it is slowed
_PLAIN_SIZE = 1400  # bytes: full packets, as a download has them
_IDLE = 0.05  # a class that passes less than this share of the rate carries answers


@dataclass(frozen=True)
class Untouched:
    """What an untouched flow was offered and what arrived."""

    load: float  # bit/s that was meant to be offered
    arrivals: Arrivals

    @property
    def share(self) -> float:
        return self.arrivals.share


def class_rates(
    lab: Site,
    sender: Place,
    receiver: Place,
    *,
    rate: float = RATE,
    pull: bool = False,
) -> list[float]:
    """bit/s of each busy class of the shaper under three times the rate.

    One number per bucket that the flow's packets went through: a single one when
    all is well, none when the flow is not throttled.
    """
    offered = load.stream(sender, receiver, rate=3 * rate, pull=pull)
    return class_rates_under(lab, [offered], rate=rate)


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
        load.shaped_rates(lab.gateway, SETTLING)
        rates = load.shaped_rates(lab.gateway, MEASURING)
    return [value for value in rates.values() if value > _IDLE * rate]


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
    """A fixed load inside a tunnel."""
    return _offer(sender, receiver, rate, 1200, pull=False)


def untouched_plain(sender: Place, receiver: Place, *, pull: bool = False) -> Untouched:
    """A fixed load of ordinary datagrams; `pull` where the receiver has to begin."""
    return _offer(sender, receiver, PLAIN, _PLAIN_SIZE, pull=pull)


def beside(flow: Arrivals, control: Arrivals) -> float:
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
    """The load, again where a busy machine could not offer all of it."""
    for _ in range(_ATTEMPTS):
        arrivals = load.run_stream(
            sender, receiver, rate=rate, seconds=_LENGTH, size=size, pull=pull
        )
        if arrivals.offered_rate >= ENOUGH * rate:
            return Untouched(rate, arrivals)
    offered = f"{arrivals.offered_rate / 1e6:.0f} Mbit/s"
    raise LabError(f"this machine offered {offered} of {rate / 1e6:.0f}")
