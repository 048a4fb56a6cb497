# SPDX-License-Identifier: GPL-2.0-or-later
"""A daemon whose packets are asked for no verdict slows the first tunnel that comes.

With the minute that it waits for that cut to a second: it looks every five.
"""

import signal

import pytest

from tests.lab import load, rates, wireguard
from tests.lab.daemon import HARNESS, Daemon, daemon, enforcing_settings
from tests.lab.questions import ALL, NONE, asking, listed
from tests.lab.rates import Way
from tests.lab.topology import UNREGISTERED, Lab

_PROGRAM = (*HARNESS, "--quiet", "1")
_RATE = pytest.approx(rates.RATE, rel=rates.TOLERANCE)


def _throttled(running: Daemon) -> float:
    return running.metric("vpngate_throttled_flows")


def _asked(lab: Lab) -> dict[str, list[int]]:
    return asking(lab.gateway.call(listed))


def _slowed(running: Daemon) -> list[bool]:
    """Whether anything was, by direction."""
    slowed = running.samples("vpngate_throttled_packets_total")
    return [one.value > 0 for one in slowed]


def test_the_first_tunnel_is_slowed_also_behind_a_reload_and_a_kill(lab: Lab) -> None:
    settings = enforcing_settings(lab, "killed")
    with (
        wireguard.tunnel(lab.client, lab.member) as registered,
        wireguard.tunnel(lab.client, lab.stranger) as tunnel,
        wireguard.tunnel(lab.member, lab.stranger) as control,
    ):
        flow, free, beside = (
            Way(each.client, each.server) for each in (tunnel, registered, control)
        )
        for end in (signal.SIGKILL, signal.SIGTERM):
            with daemon(lab.gateway, settings, _PROGRAM) as running:
                running.wait_until(lambda: _asked(lab) == NONE, "no question any more")
                assert rates.beside(lab, flow, beside).faults == []
                assert running.metric("vpngate_kernel_in_sync") == 1
                tunnel.shake_hands()
                running.wait_until(lambda: _throttled(running) == 1, "the verdict")
                assert _asked(lab) == ALL
                up, down = (
                    load.stream(*way, rate=rates.RATE) for way in (flow, flow.back)
                )
                with up, down:
                    running.wait_until(lambda: all(_slowed(running)), "slowed packets")
                running.reload()
                assert _asked(lab) == ALL
                if end is signal.SIGTERM:
                    assert rates.class_rates(lab, *flow) == [_RATE]
                    assert rates.class_rates(lab, *flow.back) == [_RATE]
                    assert rates.beside(lab, free, beside).faults == []
                running.process.send(end)
                running.process.wait()
            assert "vpngate" not in lab.gateway.run("nft", "list", "tables")


def test_whoever_registers_was_the_last_to_be_asked_for(lab: Lab) -> None:
    with (
        wireguard.tunnel(lab.client, lab.stranger) as tunnel,
        wireguard.tunnel(lab.member, lab.stranger) as control,
        daemon(lab.gateway, enforcing_settings(lab, "last"), _PROGRAM) as running,
    ):
        tunnel.shake_hands()
        running.wait_until(lambda: _throttled(running) == 1, "the verdict")
        assert _asked(lab) == ALL
        running.settings.register(*UNREGISTERED)
        running.reload()
        running.wait_until(lambda: _asked(lab) == NONE, "no question any more")
        ways = (Way(each.client, each.server) for each in (tunnel, control))
        assert rates.beside(lab, *ways).faults == []
