# SPDX-License-Identifier: GPL-2.0-or-later
"""A daemon with a large registry ends under load, and another one begins."""

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lab import load, wireguard
from tests.lab.attachings import by_filters
from tests.lab.daemon import Daemon, daemon, enforcing_settings
from tests.lab.topology import Lab

_PREFIXES = 100_000
# Slow, so that no program's buffer is full when a busy machine lets it wait.
_SLOW = 512e3  # bit/s
_MORE_THAN_SLOW = 1.4 * _SLOW  # in the slow class a quarter of it would be lost
_PLAIN = 5e6  # bit/s
_AFTER = 0.5  # seconds that the flows go on


def _many() -> list[str]:
    """No two of them are neighbours: each is an interval of its own in the kernel."""
    numbers = range(0, 2 * _PREFIXES, 2)
    return [f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}/32" for n in numbers]


def _throttled(running: Daemon) -> float:
    return running.metric("vpngate_throttled_flows")


def _detoured(running: Daemon) -> float:
    return running.metric("vpngate_throttled_packets_total")


@contextlib.contextmanager
def _clsact(lab: Lab) -> Iterator[None]:
    """To hang it in empties an interface's queue."""
    devices = ("lan0", "lan1") if by_filters() else ()
    for device in devices:
        lab.gateway.run("tc", "qdisc", "add", "dev", device, "clsact")
    try:
        yield
    finally:
        for device in devices:
            lab.gateway.run("tc", "qdisc", "del", "dev", device, "clsact")


@pytest.mark.parametrize(
    "end", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"]
)
def test_a_restart_costs_nobody_a_packet(
    lab: Lab,
    tmp_path: Path,
    end: signal.Signals,
    record_property: Callable[[str, object], None],
) -> None:
    """And the unregistered tunnel is slowed again from its next handshake on.

    Where programs stand by filters, as docs/ebpf.md has it: clsact was there before.
    """
    settings = enforcing_settings(lab, tmp_path.name)
    settings.change(throttle={"rate": "512kbit"})
    settings.register(*_many())
    with (
        _clsact(lab),
        wireguard.tunnel(lab.client, lab.member) as registered,
        wireguard.tunnel(lab.client, lab.stranger) as other,
        load.stream(
            registered.client, registered.server, rate=_MORE_THAN_SLOW
        ) as inside,
        load.stream(lab.client.at(), lab.member.at(), rate=_MORE_THAN_SLOW) as between,
        load.stream(lab.client.at(), lab.stranger.at(), rate=_PLAIN) as up,
        load.stream(lab.stranger.at(6), lab.client.at(6), rate=_PLAIN) as down,
        load.stream(other.client, other.server, rate=_MORE_THAN_SLOW) as slowed,
    ):
        with daemon(lab.gateway, settings) as running:
            other.shake_hands()
            running.wait_until(lambda: _throttled(running) == 1, "the verdict")
            running.wait_until(lambda: _detoured(running) > 0, "a slowed packet")
            running.process.send(end)
            running.process.wait()
        ended = time.monotonic()
        with daemon(lab.gateway, settings) as running:
            record_property("seconds_to_start", round(time.monotonic() - ended, 1))
            held = sum(running.ask("status")["registry"]["prefixes"].values())
            assert held > _PREFIXES
            assert _throttled(running) == 0
            assert _detoured(running) == 0
            other.shake_hands()
            running.wait_until(lambda: _throttled(running) == 1, "a verdict again")
            running.wait_until(lambda: _detoured(running) > 0, "slowed again")
            time.sleep(_AFTER)
            lost = [each.stop().lost for each in (inside, between, up, down)]
            assert slowed.stop().received > 0
    assert lost == [0, 0, 0, 0]
