# SPDX-License-Identifier: GPL-2.0-or-later
"""What slows less does not wait for a registry that is on its way to the kernel."""

import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab import load, rates, wireguard
from tests.lab.daemon import HARNESS, Daemon, daemon, enforcing_settings
from tests.lab.topology import UNREGISTERED, Lab
from vpngate.daemon.outside.client import request

_OFFERED = 3 * rates.RATE
_FREE = 0.9 * _OFFERED
_PREFIXES = 200_000  # the kernel takes seconds for them
_MAKING = "3"  # seconds more over programs, which are made in less than one
_PATIENCE = 120.0  # seconds


@pytest.fixture
def running(lab: Lab) -> Iterator[Daemon]:
    settings = enforcing_settings(lab, f"daemon-{time.monotonic_ns()}")
    with daemon(lab.gateway, settings, (*HARNESS, "--making", _MAKING)) as started:
        yield started


class Reloading(threading.Thread):
    """A reload that brings a large registry, and when it was through."""

    def __init__(self, running: Daemon) -> None:
        super().__init__()
        self._running = running
        self.outcome: Any = None
        self.through = 0.0

    def run(self) -> None:
        self.outcome = request(
            self._running.settings.socket,
            "reload",
            {"accept_additions": True},
            timeout=_PATIENCE,
        )
        self.through = time.monotonic()


def register_many(running: Daemon) -> None:
    """Prefixes of which no two touch, and none is in the lab."""
    with running.settings.registry.open("a") as file:
        file.writelines(
            f"{32 + (n >> 15)}.{n >> 7 & 255}.{2 * n & 255}.0/25,R-1,,,\n"
            for n in range(_PREFIXES)
        )


@pytest.mark.parametrize("how", ["observe", "protect"])
def test_slowing_ends_before_a_change_that_is_under_way(
    lab: Lab, running: Daemon, how: str
) -> None:
    with (
        wireguard.tunnel(lab.client, lab.stranger) as tunnel,
        load.stream(tunnel.client, tunnel.server, rate=_OFFERED) as stream,
    ):
        running.wait_for_flow("wireguard", "throttle")
        register_many(running)
        reloading = Reloading(running)
        reloading.start()
        running.wait_until(
            lambda: running.ask("changing") or not reloading.is_alive(),
            "the registry on its way to the kernel",
            _PATIENCE,
        )
        if how == "observe":
            running.settings.change(gateway={"mode": "observe"})
        else:
            running.settings.change(protect={"prefixes": list(UNREGISTERED)})
        asked = time.monotonic()
        running.process.send(signal.SIGHUP)
        reloading.join()
        time.sleep(rates.SETTLING)
        arrivals = stream.stop()
    assert reloading.outcome["registry"].startswith("taken")
    # The control: until it was asked for, the tunnel was slowed.
    assert arrivals.rate_between(asked - 1.0, asked) < 1.2 * rates.RATE
    freed = arrivals.first_fast(_FREE, asked)
    print(  # noqa: T201 - shown with -rP
        f"{how}: freed after {freed - asked:.2f} s, the registry was through after"
        f" {reloading.through - asked:.2f} s"
    )
    assert freed < reloading.through
