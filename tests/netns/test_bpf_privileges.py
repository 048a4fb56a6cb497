# SPDX-License-Identifier: GPL-2.0-or-later
"""A daemon over programs with what its drop-in lends it, and with one thing less.

Over the eBPF plane alone: the command knows no other way to ask for programs.
"""

import subprocess

import pytest

from tests.lab import load, wireguard
from tests.lab.daemon import VPNGATE, daemon, enforcing_settings
from tests.lab.namespaces import PATIENCE
from tests.lab.topology import Lab
from tests.planes import PLANE
from vpngate.config import Plane

pytestmark = pytest.mark.skipif(
    PLANE is not Plane.EBPF, reason="of the eBPF plane: see `make planes`"
)

# systemd/ebpf.conf, beside the unit's own.
LENT = ("net_admin", "bpf", "perfmon")
_NO = 1  # exit status


def with_only(*kept: str) -> tuple[str, ...]:
    """A program that has no other capabilities, also as root."""
    bounding = ",".join(("-all", *(f"+{one}" for one in kept)))
    return ("setpriv", "--inh-caps=-all", f"--bounding-set={bounding}")


def test_with_what_the_drop_in_lends_it_slows(lab: Lab) -> None:
    settings = enforcing_settings(lab, "lent")
    program = (*with_only(*LENT), VPNGATE, "run")
    with (
        daemon(lab.gateway, settings, program) as running,
        wireguard.tunnel(lab.client, lab.stranger) as tunnel,
    ):
        running.wait_for_flow("wireguard", "throttle")
        load.run_stream(tunnel.client, tunnel.server, rate=2e6, seconds=1.0)
        running.wait_until(
            lambda: running.metric("vpngate_throttled_packets_total") > 0,
            "throttled packets",
        )
        status = running.ask("status")
        assert status["healthy"], status["reasons"]


@pytest.mark.parametrize("missing", LENT)
def test_with_less_it_says_in_one_line_what_is_missing(lab: Lab, missing: str) -> None:
    settings = enforcing_settings(lab, f"without-{missing}")
    kept = (one for one in LENT if one != missing)
    files = ("--config", str(settings.config), "--socket", str(settings.socket))
    done = subprocess.run(
        lab.gateway.command((*with_only(*kept), VPNGATE, "run", *files)),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    complaints = [line for line in done.stderr.splitlines() if line]
    assert done.returncode == _NO, done.stderr
    assert len(complaints) == 1, done.stderr
    assert complaints[0].startswith("vpngate: ")
    assert f"CAP_{missing.upper()}" in complaints[0]
    assert "vpngate" not in lab.gateway.run("nft", "list", "tables")
    assert load.shaping_devices(lab.gateway) == []
