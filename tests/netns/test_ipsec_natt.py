# SPDX-License-Identifier: GPL-2.0-or-later
"""A real IKEv2 whose client is behind the gateway's NAT: IKE says what UDP 4500 is.

strongSwan at both ends, so the second exchange moves to port 4500 and ESP follows it
there. One exchange is enough, on a new tunnel, on one that changes its address, and
on one that was there first; ESP alone is not.
"""

import contextlib
import time
from collections.abc import Iterator

import pytest

from tests.lab import load, rates, strongswan, topology
from tests.lab.daemon import Daemon, daemon, enforcing_settings
from tests.lab.strongswan import Ipsec, Manner
from tests.lab.topology import Lab

_LIVENESS_CHECK = 3  # seconds
_TALK = 2e5  # bit/s, each way
_LOOKED_AT = 2.0  # seconds of it
_ELSEWHERE = "100.64.1.3"  # the client's second address


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with topology.build(masquerade=True) as built:
        yield built


def _is_throttled(lab: Lab, tunnel: Ipsec) -> None:
    """Assert that each direction has its bucket."""
    measured = rates.class_rates_under(
        lab, [rates.both_ways(tunnel.client, tunnel.server)]
    )
    assert measured == [pytest.approx(rates.RATE, rel=rates.TOLERANCE)] * 2


def _verdicts(running: Daemon) -> int:
    return int(running.metric("vpngate_flows_total", verdict="throttle"))


def _move(lab: Lab) -> None:
    """The client gets another address and loses the one it had."""
    lab.gateway.ip(f"neigh add {_ELSEWHERE} lladdr {lab.client.mac} dev lan0")
    lab.client.namespace.ip(
        f"addr add {_ELSEWHERE}/25 dev eth0",  # one of its own, not a second one
        f"addr del {lab.client.ipv4}/24 dev eth0",
        "route replace default via 100.64.1.1",
    )


def test_one_that_was_up_before_is_throttled_after_its_next_liveness_check(
    lab: Lab,
) -> None:
    with contextlib.ExitStack() as stack:
        manner = Manner(behind_nat=True, liveness_check=_LIVENESS_CHECK)
        tunnel = stack.enter_context(
            strongswan.tunnel(lab.client, lab.stranger, manner=manner)
        )
        # While it is busy neither end asks whether the other is alive.
        with load.exchange(tunnel.client, tunnel.server, up=_TALK, down=_TALK) as talk:
            running = stack.enter_context(
                daemon(lab.gateway, enforcing_settings(lab, "after"))
            )
            time.sleep(_LOOKED_AT)
            assert _verdicts(running) == 0
            assert running.metric("vpngate_throttled_packets_total") == 0
            said = talk.stop()
            assert min(way.received for way in said) > 0
        running.wait_for_flow("ipsec", "throttle")
        _is_throttled(lab, tunnel)


def test_one_exchange_is_enough_also_after_a_change_of_address(lab: Lab) -> None:
    with contextlib.ExitStack() as stack:
        running = stack.enter_context(
            daemon(lab.gateway, enforcing_settings(lab, "before"))
        )
        tunnel = stack.enter_context(
            strongswan.tunnel(lab.client, lab.stranger, manner=Manner(behind_nat=True))
        )
        running.wait_for_flow("ipsec", "throttle")
        _is_throttled(lab, tunnel)
        known = _verdicts(running)
        _move(lab)
        running.wait_for_flow("ipsec", "throttle", known + 1)
        _is_throttled(lab, tunnel)
