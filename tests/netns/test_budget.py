# SPDX-License-Identifier: GPL-2.0-or-later
"""Second readings have a budget: a flood of dear messages delays nothing else."""

import sys
import time
from pathlib import Path

from tests.lab import wireguard
from tests.lab.daemon import Daemon, daemon, enforcing_settings
from tests.lab.namespaces import PATIENCE
from tests.lab.topology import Lab

_ROOT = Path(__file__).parents[2]
_AT_LEAST = 8  # seconds of flood: more than two times of re-arming


def _outcome(flooded: Daemon, outcome: str) -> float:
    """How many second readings of IPsec have ended so."""
    return flooded.metric(
        "vpngate_second_reading_total", tunnel="ipsec", outcome=outcome
    )


def test_a_flood_of_dear_messages_stays_within_the_budget(lab: Lab) -> None:
    """Complete exchanges, each read twice unless that would take too long.

    With a registered peer: who is let pass is never in the kernel's maps, so that all
    of it goes on being copied.
    """
    settings = enforcing_settings(lab, "dear")
    settings.change(gateway={"deadman": "10s"})  # re-armed every 3.3 s
    # One subscriber gets 585 copies a second of these: more than can be read twice.
    settings.change(capture={"packets_per_second": 300_000})
    seconds, rate = PATIENCE, 3000
    program = ("env", f"PYTHONPATH={_ROOT}", sys.executable, "-m", "tests.lab.ikeflood")
    answering = (*program, "answer", lab.member.ipv4, str(seconds))
    asking = (
        *program,
        "ask",
        lab.client.ipv4,
        lab.member.ipv4,
        str(seconds),
        str(rate),
    )
    with (
        daemon(lab.gateway, settings) as flooded,
        lab.member.namespace.running(*answering),
        lab.client.namespace.running(*asking) as flooding,
    ):
        armed = []
        begin = time.monotonic()
        # A machine that does much else takes its time to use the budget up.
        while time.monotonic() < begin + _AT_LEAST or not _outcome(flooded, "budget"):
            assert flooding.exit_status is None, "the budget was never used up"
            armed.append(flooded.metric("vpngate_deadman_armed"))
            time.sleep(0.1)
        flooding.stop()
        assert set(armed) == {1.0}
        assert _outcome(flooded, "agreed") > 0
        assert _outcome(flooded, "differed") == 0
        state = flooded.ask("status")
        assert state["healthy"], state["reasons"]
        with wireguard.tunnel(lab.neighbour, lab.stranger):
            flooded.wait_for_flow("wireguard", "throttle")
