# SPDX-License-Identifier: GPL-2.0-or-later
"""A slice of the fault campaign (`make campaign`): some kinds, one after the other."""

import contextlib
from collections.abc import Iterator

import pytest

from tests.campaign import report
from tests.campaign.campaign import Campaign
from tests.campaign.catalogue import BY_NAME
from tests.campaign.counts import Kind
from tests.campaign.families import programs
from tests.campaign.fault import Fault, Parameters
from tests.campaign.schedule import planned
from tests.campaign.world import World, built

_SEED = 17
# Short ones that no other live test has with all four flows; and those that there are
# only where programs do the work.
_SLICE = (
    *("link renamed", "ifb harmed", "bad registry"),
    *(fault.name for fault in programs.FAULTS),
)
_IN_THE_WAY = """table netdev operator {
    chain in { type filter hook ingress device "lan0" priority -100
        udp sport %d limit rate over 50/second drop
    }
}"""


@contextlib.contextmanager
def _in_the_way(world: World, _: Parameters) -> Iterator[None]:
    """The control of it all: a plain flow that is slowed, and its control is not."""
    rules = _IN_THE_WAY % world.watch.port(Kind.DATAGRAMS)
    world.gateway.run("nft", "-f", "-", stdin=rules)
    try:
        yield
    finally:
        world.gateway.run("nft", "delete table netdev operator")


@pytest.mark.timeout(900)
def test_whatever_happens_registered_and_plain_traffic_does_not_notice() -> None:
    with built() as world:
        campaign = Campaign(world)
        for number, name in enumerate(_SLICE):
            outcome = campaign.undergo(planned([BY_NAME[name]], _SEED, number))
            print(*report.in_words(outcome), sep="\n")  # noqa: T201 - where it fails
            assert outcome.suffered == [], outcome.planned.again
        slowing = Fault("in the way", _in_the_way)
        outcome = campaign.undergo(planned([slowing], _SEED, len(_SLICE)))
        (suffered,) = outcome.suffered
        assert suffered.startswith(f"{Kind.DATAGRAMS}: lost ")
