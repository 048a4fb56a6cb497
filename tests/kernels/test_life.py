# SPDX-License-Identifier: GPL-2.0-or-later
"""The live path on a kernel that is emulated: slowed, registered, reloaded, killed.

What `tests/netns/test_smoke.py` shows, at a rate and under a load that an emulated
processor carries; and what the kernel holds after each end that a daemon can have.
"""

import json
import signal
from collections.abc import Iterator

import pytest

from tests.lab import load, rates, topology, wireguard
from tests.lab.daemon import VPNGATE, Daemon, daemon, enforcing_settings
from tests.lab.rates import Way
from tests.lab.topology import UNREGISTERED, Lab
from tests.lab.wireguard import WireGuard

_RATE = 512e3  # bit/s
_GRAVE = ("missing", "conflict")
_OFFERED = 2.5e6  # bit/s in a tunnel that nobody slows


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with topology.build() as built:
        yield built


def _faults(lab: Lab, tunnel: WireGuard, control: WireGuard) -> list[str]:
    """In which ways what is sent in a tunnel is not left alone."""
    ways = (Way(each.client, each.server) for each in (tunnel, control))
    return rates.beside(lab, *ways, rate=_OFFERED, limit=_RATE).faults


def _left_behind(lab: Lab) -> tuple[str, list[str]]:
    """Tables and shaping devices on the gateway."""
    return lab.gateway.run("nft", "list", "tables"), load.shaping_devices(lab.gateway)


def _throttled(running: Daemon) -> float:
    return running.metric("vpngate_throttled_flows")


def test_a_daemons_life(lab: Lab) -> None:
    settings = enforcing_settings(lab)
    settings.change(throttle={"rate": "512kbit"})
    with (
        wireguard.tunnel(lab.client, lab.member) as registered,
        wireguard.tunnel(lab.client, lab.stranger) as other,
        wireguard.tunnel(lab.member, lab.stranger) as control,
    ):
        with daemon(lab.gateway, settings) as running:
            running.wait_until(lambda: _throttled(running) == 1, "the verdict")
            [rate] = rates.class_rates(lab, other.client, other.server, rate=_RATE)
            assert rate == pytest.approx(_RATE, rel=rates.TOLERANCE)
            assert _faults(lab, registered, control) == []

            settings.register(*UNREGISTERED)
            running.reload()
            running.wait_until(lambda: _throttled(running) == 0, "no verdict")
            assert _faults(lab, other, control) == []

            running.process.send(signal.SIGKILL)
            running.process.wait()
        assert "vpngate" not in lab.gateway.run("nft", "list", "tables")
        assert _faults(lab, other, control) == []

        # The next one takes away what a killed one left, and at its end its own.
        with daemon(lab.gateway, settings) as running:
            running.process.send(signal.SIGTERM)
            assert running.process.wait() == 0
        assert _left_behind(lab) == ("", [])
        assert _faults(lab, other, control) == []


def test_the_doctor_finds_nothing_amiss(lab: Lab) -> None:
    """It tries with packets all that enforcing asks of a kernel."""
    settings = enforcing_settings(lab, "doctor")
    files = ("--config", str(settings.config), "--socket", str(settings.socket))
    answer = json.loads(
        lab.gateway.run(VPNGATE, "doctor", *files, "--format", "json", check=False)
    )
    grave = [one for one in answer["findings"] if one["weight"] in _GRAVE]
    assert (answer["able"], grave) == (True, [])
