# SPDX-License-Identifier: GPL-2.0-or-later
"""A flood of spoofed handshakes: the daemon stays up, small and honest."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

from tests.lab import wireguard
from tests.lab.daemon import Daemon
from tests.lab.topology import Lab

_ROOT = Path(__file__).parents[2]
# A million where it is asked for; the slice floods for seconds.
_COUNT = int(os.environ.get("VPNGATE_LIVE_FLOOD", "100000"))
# The flow table's own bound (256 MiB), and what Python takes beside it.
_MOST_GROWTH = 400 << 20  # bytes


def _resident(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_a_flood_of_initiations_is_survived_and_throttles_nobody(
    lab: Lab, enforcing: Daemon, record_property: Callable[[str, object], None]
) -> None:
    before = _resident(enforcing.process.pid)
    # All of them live behind the neighbour, or they were not even copied.
    lab.gateway.ip(f"route replace 100.64.0.0/10 via {lab.neighbour.ipv4}")
    flood = (sys.executable, "-m", "tests.lab.flood", lab.stranger.ipv4, str(_COUNT))
    environment = ("env", f"PYTHONPATH={_ROOT}")
    with (
        lab.neighbour.namespace.running(*environment, *flood) as flooding,
        wireguard.tunnel(lab.client, lab.stranger),
    ):
        assert enforcing.ask("status")["healthy"]
        assert flooding.wait() == 0
        sent = flooding.output().split()
    state = enforcing.ask("status")
    assert state["healthy"], state["reasons"]
    # One real tunnel shook hands meanwhile: found, or left alone.
    assert sum(state["throttled"]["flows"].values()) <= 1
    grown = _resident(enforcing.process.pid) - before
    assert grown < _MOST_GROWTH
    for name, value in {
        "sent": sent,
        "grown_mib": grown >> 20,
        "captured": state["capture"],
        "flows": state["flows"],
        "throttled": state["throttled"]["flows"],
    }.items():
        record_property(name, value)
    with wireguard.tunnel(lab.client, lab.stranger):
        enforcing.wait_for_flow("wireguard", "throttle")
