# SPDX-License-Identifier: GPL-2.0-or-later
"""On the uplink side nobody is believed who could be speaking for others."""

import pytest

from tests.lab import forging, handshakes, topology
from tests.lab.daemon import VPNGATE, daemon, enforcing_settings
from tests.lab.forging import Flow
from tests.lab.namespaces import PATIENCE
from tests.lab.sided import gateway, shake_hands
from vpngate.packets import Transport

VERSIONS = (4, 6)


@pytest.mark.parametrize("version", VERSIONS)
def test_on_the_uplink_nobody_there_sends_both_halves(version: int) -> None:
    """What is said in a subscriber's name to somebody outside would go back out.

    A real handshake behind the forged one is the only tunnel.
    """
    with gateway("uplink") as (lab, running):
        client, stranger = (
            host.at(version).address for host in (lab.client, lab.stranger)
        )
        absent = f"{stranger}77" if version == 6 else f"{stranger[:-2]}77"
        lab.gateway.ip(f"neigh add {absent} lladdr {lab.member.mac} dev wan1")
        opening = handshakes.wireguard()
        flow = Flow(client, absent, 30_000, opening.port, Transport.UDP)
        with forging.mouth(lab.stranger) as mouth:
            forging.tell(mouth, flow, opening.request, back=False)
            forging.tell(mouth, flow, opening.answer, back=True)
        shake_hands((lab.client, client), (lab.stranger, stranger), 30_001)
        running.wait_for_flow("wireguard", "throttle")
        assert running.metric("vpngate_flows_total", verdict="throttle") == 1


def test_without_filters_elsewhere_nobody_is_slowed_on_the_uplink() -> None:
    """Nor is a daemon started; one that runs observes until they are back."""
    with topology.build() as lab:
        settings = enforcing_settings(lab)
        settings.change(
            gateway={"side": "uplink", "interfaces": ["wan*"], "nat": False}
        )
        words = (VPNGATE, "run", "--config", str(settings.config))
        refused = lab.gateway.start(*words, "--socket", str(settings.socket))
        assert refused.wait(PATIENCE) == 1
        assert "interface lan0: takes packets" in refused.output()
        assert "IPv6: is forwarded" in refused.output()
        topology.filter_sources(lab.gateway)
        with daemon(lab.gateway, settings) as running:
            running.wait_until(lambda: running.ask("status")["healthy"], "health")
            lab.gateway.sysctl("net.ipv4.conf.lan1.rp_filter", 2)
            running.wait_until(
                lambda: "lan1" in str(running.ask("status")["reasons"]), "doubt"
            )
            running.wait_until(
                lambda: not running.ask("status")["kernel"]["armed"], "disarming"
            )
            assert running.metric("vpngate_deadman_armed") == 0
            lab.gateway.sysctl("net.ipv4.conf.lan1.rp_filter", 1)
            running.wait_until(lambda: running.ask("status")["healthy"], "health")
            assert running.ask("status")["kernel"]["armed"]
