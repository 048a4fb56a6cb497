# SPDX-License-Identifier: GPL-2.0-or-later
"""A daemon whose packets are asked for no verdict slows the first tunnel that comes.

With the minute that it waits for that cut to a second: it looks every five.
"""

import signal

import pytest

from tests.lab import rates, wireguard
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


def test_the_first_tunnel_is_slowed_also_behind_a_reload_and_a_kill(lab: Lab) -> None:
    settings = enforcing_settings(lab, "killed")
    with (
        wireguard.tunnel(lab.client, lab.member) as registered,
        wireguard.tunnel(lab.client, lab.stranger) as tunnel,
        wireguard.tunnel(lab.member, lab.stranger) as control,
    ):
        for end in (signal.SIGKILL, signal.SIGTERM):
            with daemon(lab.gateway, settings, _PROGRAM) as running:
                running.wait_until(lambda: _asked(lab) == NONE, "no question any more")
                flow, beside = (Way(t.client, t.server) for t in (tunnel, control))
                assert rates.beside(lab, flow, beside).faults == []
                assert running.metric("vpngate_kernel_in_sync") == 1
                tunnel.shake_hands()
                running.wait_until(lambda: _throttled(running) == 1, "the verdict")
                assert _asked(lab) == ALL
                left_alone = Way(registered.client, registered.server)
                assert rates.beside(lab, left_alone, beside).faults == []
                both = rates.class_rates_under(lab, [rates.both_ways(*flow)])
                assert both == [_RATE, _RATE]
                running.reload()
                assert _asked(lab) == ALL
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
