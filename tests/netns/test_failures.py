# SPDX-License-Identifier: GPL-2.0-or-later
"""Whatever happens to the daemon or its devices, traffic flows (DESIGN: fail open)."""

import contextlib
import itertools
import signal
import time
from collections.abc import Callable, Iterator

import pytest

from tests.lab import load, rates, wireguard
from tests.lab.daemon import VPNGATE, Daemon, daemon, enforcing_settings
from tests.lab.rates import Way
from tests.lab.topology import SUBSCRIBER_INTERFACES, Lab
from tests.lab.wireguard import WireGuard

_OFFERED = 3 * rates.RATE
_FREE = 0.9 * _OFFERED
_DEADMAN = 10.0  # seconds, the shortest there is
# From the end of the process, which the kernel tells, until nothing more comes to the
# shaper, which it counts. How long a busy machine takes to end one is no part of it.
_AT_ONCE = 2.0  # seconds

Record = Callable[[str, object], None]


@pytest.fixture(scope="module")
def tunnel(lab: Lab) -> Iterator[WireGuard]:
    """An unregistered tunnel that outlives the daemons of these tests."""
    with wireguard.tunnel(lab.client, lab.stranger) as up:
        yield up


@contextlib.contextmanager
def throttling(lab: Lab, tunnel: WireGuard) -> Iterator[Daemon]:
    """A daemon that has seen the tunnel's handshake."""
    settings = enforcing_settings(lab, f"daemon-{time.monotonic_ns()}")
    settings.change(gateway={"deadman": f"{_DEADMAN:.0f}s"})
    with daemon(lab.gateway, settings) as running:
        tunnel.shake_hands()
        running.wait_until(
            lambda: running.metric("vpngate_throttled_flows") == 1, "the verdict"
        )
        yield running


def _tables(lab: Lab) -> str:
    return lab.gateway.run("nft", "list", "tables")


def _leftovers(lab: Lab) -> list[str]:
    """What a daemon that has stopped cleanly must not leave on the gateway."""
    left = [line for line in _tables(lab).splitlines() if "vpngate" in line]
    left += load.shaping_devices(lab.gateway)
    for device in SUBSCRIBER_INTERFACES:
        qdiscs = lab.gateway.run("tc", "qdisc", "show", "dev", device)
        left += [line for line in qdiscs.splitlines() if "clsact" in line]
    return left


def test_killed_daemon_frees_the_tunnel_at_once(lab: Lab, tunnel: WireGuard) -> None:
    with (
        throttling(lab, tunnel) as running,
        wireguard.tunnel(lab.member, lab.stranger) as control,
        load.stream(tunnel.client, tunnel.server, rate=_OFFERED) as stream,
    ):
        time.sleep(rates.SETTLING)
        killed = time.monotonic()
        running.process.send(signal.SIGKILL)
        running.process.wait()
        assert "vpngate" not in _tables(lab)
        time.sleep(_AT_ONCE)
        slowed, arrivals = rates.slowed_meanwhile(lab, stream)
        offer = rates.beside(
            lab,
            Way(tunnel.client, tunnel.server),
            Way(control.client, control.server),
        )
    assert arrivals.rate_between(killed - 1.0, killed) < 1.2 * rates.RATE
    assert slowed == 0
    assert offer.faults == []


def test_a_daemon_after_a_killed_one_throttles_and_leaves_nothing(
    lab: Lab, tunnel: WireGuard
) -> None:
    with throttling(lab, tunnel) as killed:
        killed.process.send(signal.SIGKILL)
        killed.process.wait()
        with throttling(lab, tunnel) as running:
            measured = rates.class_rates(lab, tunnel.client, tunnel.server)
            assert measured == [pytest.approx(rates.RATE, rel=rates.TOLERANCE)]
            running.process.send(signal.SIGTERM)
            assert running.process.wait() == 0
    assert _leftovers(lab) == []


def test_clean_stop_leaves_nothing_and_loses_nothing(
    lab: Lab, tunnel: WireGuard
) -> None:
    with (
        throttling(lab, tunnel) as running,
        load.stream(lab.client.at(), lab.stranger.at(), rate=5e6) as plain,
        load.stream(tunnel.client, tunnel.server, rate=0.8 * rates.RATE) as inside,
    ):
        time.sleep(rates.SETTLING)
        running.process.send(signal.SIGTERM)
        assert running.process.wait() == 0
        assert _leftovers(lab) == []
        time.sleep(0.5)
        lost = plain.stop().lost, inside.stop().lost
    assert lost == (0, 0)


def test_stopped_daemon_frees_within_the_dead_mans_time_and_resumes(
    lab: Lab, tunnel: WireGuard, record_property: Record
) -> None:
    with (
        throttling(lab, tunnel) as running,
        load.stream(tunnel.client, tunnel.server, rate=_OFFERED) as stream,
    ):
        time.sleep(rates.SETTLING)
        stopped = time.monotonic()
        running.process.send(signal.SIGSTOP)
        time.sleep(_DEADMAN + 1.5)
        continued = time.monotonic()
        running.process.send(signal.SIGCONT)
        running.wait_until(
            lambda: bool(load.shaped_rates(lab.gateway, 0.5)), "the re-armed switch"
        )
        resumed = time.monotonic()
        time.sleep(rates.SETTLING)
        end = time.monotonic()
        arrivals = stream.stop()
    assert arrivals.rate_between(stopped - 1.0, stopped) < 1.2 * rates.RATE
    waited = arrivals.first_fast(_FREE, stopped) - stopped
    record_property("seconds_to_full_rate", round(waited, 3))
    assert waited < _DEADMAN + 0.5
    record_property("seconds_to_throttled_again", round(resumed - continued, 3))
    assert arrivals.rate_between(end - 1.0, end) < 1.2 * rates.RATE


@pytest.mark.parametrize("harm", [("set", "down"), ("del",)], ids=["downed", "deleted"])
def test_ifb_harmed_by_hand_is_repaired_while_traffic_flows(
    lab: Lab, tunnel: WireGuard, record_property: Record, harm: tuple[str, ...]
) -> None:
    with (
        throttling(lab, tunnel) as running,
        load.stream(lab.client.at(), lab.stranger.at(), rate=5e6) as plain,
        load.stream(tunnel.client, tunnel.server, rate=_OFFERED) as stream,
    ):
        time.sleep(rates.SETTLING)
        (device,) = load.shaping_devices(lab.gateway)
        harmed = time.monotonic()
        lab.gateway.run("ip", "link", harm[0], "dev", device, *harm[1:])
        running.process.expect("repaired in the kernel: ifb")
        repaired = time.monotonic()
        record_property("seconds_to_repair", round(repaired - harmed, 3))
        time.sleep(1.0)
        arrivals = stream.stop()
        beside = plain.stop()
        assert beside.lost == 0
        silence, control = (
            _longest_silence(one, harmed, repaired + 1.0) for one in (arrivals, beside)
        )
        record_property("seconds_of_silence", round(silence, 3))
        assert silence < 0.5 + control  # which a machine may have that is busy
        tunnel.shake_hands()
        measured = rates.class_rates(lab, tunnel.client, tunnel.server)
        assert measured == [pytest.approx(rates.RATE, rel=rates.TOLERANCE)]
        assert running.metric("vpngate_kernel_in_sync") == 1


def _longest_silence(arrivals: load.Arrivals, start: float, end: float) -> float:
    moments = [when for when, _ in arrivals.bins if start <= when <= end]
    edges = [start, *moments, end]
    return max(later - one for one, later in itertools.pairwise(edges))


def test_a_second_daemon_on_the_table_is_refused(lab: Lab, tunnel: WireGuard) -> None:
    with throttling(lab, tunnel) as running:
        other = enforcing_settings(lab, f"daemon-{time.monotonic_ns()}")
        other.change(http={"listen": "127.0.0.1:9754"}, capture={"nflog_group": 5171})
        second = lab.gateway.start(
            *(VPNGATE, "run", "--config", str(other.config)),
            *("--socket", str(other.socket)),
        )
        try:
            assert second.wait() == 1
        finally:
            second.stop()
        complaints = [s for s in second.output().splitlines() if "vpngate:" in s]
        assert any("table" in line for line in complaints)
        assert "Traceback" not in second.output()
        assert running.metric("vpngate_throttled_flows") == 1
        assert running.fetch("/healthz")[0] == 200
