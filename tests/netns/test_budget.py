# SPDX-License-Identifier: GPL-2.0-or-later
"""Second readings have a budget: a flood of dear messages delays nothing else."""

import sys
import time
from pathlib import Path

from tests.lab import wireguard
from tests.lab.daemon import daemon, enforcing_settings
from tests.lab.topology import Lab

_ROOT = Path(__file__).parents[2]


def test_a_flood_of_dear_messages_stays_within_the_budget(lab: Lab) -> None:
    """Complete exchanges, each read twice unless that would take too long.

    With a registered peer: who is let pass is never in the kernel's maps, so that all
    of it goes on being copied.
    """
    settings = enforcing_settings(lab, "dear")
    settings.change(gateway={"deadman": "10s"})  # re-armed every 3.3 s
    # One subscriber gets 585 copies a second of these: more than can be read twice.
    settings.change(capture={"packets_per_second": 300_000})
    seconds, rate = 8, 3000
    program = ("env", f"PYTHONPATH={_ROOT}", sys.executable, "-m", "tests.lab.ikeflood")
    answering = (*program, "answer", lab.member.ipv4, str(seconds + 2))
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
        while flooding.exit_status is None:
            armed.append(flooded.metric("vpngate_deadman_armed"))
            time.sleep(0.1)
        assert set(armed) == {1.0}
        outcomes = {
            outcome: flooded.metric(
                "vpngate_second_reading_total", tunnel="ipsec", outcome=outcome
            )
            for outcome in ("agreed", "budget", "differed")
        }
        assert outcomes["agreed"] > 0
        assert outcomes["budget"] > 0
        assert outcomes["differed"] == 0
        state = flooded.ask("status")
        assert state["healthy"], state["reasons"]
        with wireguard.tunnel(lab.neighbour, lab.stranger):
            flooded.wait_for_flow("wireguard", "throttle")
