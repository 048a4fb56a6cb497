# SPDX-License-Identifier: GPL-2.0-or-later
"""A reload frees what has been registered since, at once, and disturbs nobody."""

import signal
import time
from collections.abc import Iterator

import pytest

from tests.lab import load, rates, wireguard
from tests.lab.daemon import Daemon, daemon, enforcing_settings
from tests.lab.rates import Way
from tests.lab.topology import UNREGISTERED, Lab

_OFFERED = 3 * rates.RATE
_BACKGROUND = 5e6  # bit/s of each stream that must lose nothing
# From the end of the reload until nothing more comes to the shaper, which the kernel
# counts. The reload itself takes what it takes on a busy machine.
_AT_ONCE = 1.0  # seconds


@pytest.fixture
def running(lab: Lab) -> Iterator[Daemon]:
    settings = enforcing_settings(lab, f"daemon-{time.monotonic_ns()}")
    with daemon(lab.gateway, settings) as started:
        yield started


def test_registering_a_prefix_frees_its_tunnel_and_no_other_flow_notices(
    lab: Lab, running: Daemon
) -> None:
    with (
        wireguard.tunnel(lab.client, lab.stranger) as tunnel,
        wireguard.tunnel(lab.client, lab.member) as registered,
        wireguard.tunnel(lab.member, lab.stranger) as control,
        load.stream(
            lab.neighbour.at(), lab.stranger.at(), rate=_BACKGROUND
        ) as plain_up,
        load.stream(
            lab.stranger.at(6), lab.neighbour.at(6), rate=_BACKGROUND
        ) as plain_down,
        load.stream(
            registered.client, registered.server, rate=_BACKGROUND
        ) as in_registered,
        load.stream(tunnel.client, tunnel.server, rate=_OFFERED) as freed,
    ):
        running.wait_for_flow("wireguard", "throttle")
        time.sleep(rates.SETTLING)
        running.settings.register(*UNREGISTERED)
        asked = time.monotonic()
        running.reload()
        time.sleep(_AT_ONCE)
        slowed, arrivals = rates.slowed_meanwhile(lab, freed)
        assert _throttled(running) == 0
        background = [s.stop() for s in (plain_up, plain_down, in_registered)]
        offer = rates.beside(
            lab,
            Way(tunnel.client, tunnel.server),
            Way(control.client, control.server),
        )
    assert arrivals.rate_between(asked - 1.0, asked) < 1.2 * rates.RATE
    assert slowed == 0
    assert offer.faults == []
    assert [stream.lost for stream in background] == [0, 0, 0]


def _throttled(running: Daemon) -> float:
    return running.metric("vpngate_throttled_flows")


@pytest.mark.parametrize(
    ("file", "text", "metric"),
    [
        pytest.param(
            "config",
            "[gateway]\ninterfaces = 7\n",
            "vpngate_config_last_reload_successful",
            id="broken configuration",
        ),
        pytest.param(
            "registry",
            "this is,no registry\n\n",
            "vpngate_registry_last_load_successful",
            id="broken registry",
        ),
        pytest.param(
            "registry",
            "prefix,registration\n",
            "vpngate_registry_last_load_successful",
            id="empty registry",
        ),
    ],
)
def test_bad_input_on_reload_changes_nothing(
    lab: Lab, running: Daemon, file: str, text: str, metric: str
) -> None:
    """The verdict stays, the registered tunnel stays untouched, a metric says why."""
    before = running.metric("vpngate_registry_prefixes")
    with (
        wireguard.tunnel(lab.client, lab.stranger) as tunnel,
        wireguard.tunnel(lab.neighbour, lab.member) as registered,
        wireguard.tunnel(lab.member, lab.stranger) as control,
    ):
        running.wait_until(lambda: _throttled(running) == 1, "the verdict")
        assert running.metric(metric) == 1
        getattr(running.settings, file).write_text(text)
        running.process.send(signal.SIGHUP)
        running.wait_until(lambda: running.metric(metric) == 0, "a refused reload")
        assert running.metric("vpngate_registry_prefixes") == before
        assert _throttled(running) == 1
        with load.stream(tunnel.client, tunnel.server, rate=_OFFERED) as stream:
            slowed = load.shaped_rates(lab.gateway, 1.0)
            start = time.monotonic()
            offer = rates.beside(
                lab,
                Way(registered.client, registered.server),
                Way(control.client, control.server),
                slowed=slowed,
            )
            end = time.monotonic()
            arrivals = stream.stop()
        assert slowed
        assert offer.faults == []
        assert arrivals.rate_between(start, end) < 1.2 * rates.RATE
