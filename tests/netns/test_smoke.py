# SPDX-License-Identifier: GPL-2.0-or-later
"""The live path once, in a minute: what `make smoke` runs while one is at work.

The other files of this folder show each step of it in all its forms.
"""

import signal

import pytest

from tests.lab import rates, wireguard
from tests.lab.daemon import Daemon
from tests.lab.rates import Way
from tests.lab.topology import UNREGISTERED, Lab
from tests.lab.wireguard import WireGuard


def test_from_the_first_handshake_to_a_killed_daemon(
    lab: Lab, enforcing: Daemon
) -> None:
    with (
        wireguard.tunnel(lab.client, lab.member) as registered,
        wireguard.tunnel(lab.client, lab.stranger) as unregistered,
        wireguard.tunnel(lab.member, lab.stranger) as control,
    ):
        enforcing.wait_for_flow("wireguard", "allow")
        enforcing.wait_for_flow("wireguard", "throttle")
        enforcing.wait_until(lambda: throttled(enforcing) == 1, "the verdict")
        assert rates.class_rates(lab, unregistered.client, unregistered.server) == [
            pytest.approx(rates.RATE, rel=rates.TOLERANCE)
        ]
        assert untouched(lab, registered, control) == []

        enforcing.settings.register(*UNREGISTERED)
        enforcing.reload()
        enforcing.wait_until(lambda: throttled(enforcing) == 0, "no verdict")
        assert untouched(lab, unregistered, control) == []

        enforcing.process.send(signal.SIGKILL)
        enforcing.process.wait()
        assert "vpngate" not in lab.gateway.run("nft", "list", "tables")
        assert untouched(lab, unregistered, control) == []


def throttled(running: Daemon) -> float:
    return running.metric("vpngate_throttled_flows")


def untouched(lab: Lab, tunnel: WireGuard, control: WireGuard) -> list[str]:
    """In which ways what is sent in a tunnel is not left alone."""
    ways = (Way(each.client, each.server) for each in (tunnel, control))
    return rates.beside(lab, *ways).faults
