# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel itself keeps the promise: a wrong verdict slows nobody who is registered.

Nobody else can write an owned table, so the wrong verdicts come by the daemon's own
socket: `tests/lab/harness.py` is the daemon with one more control verb.
"""

from collections.abc import Iterator

import pytest

from tests.lab import rates, wireguard
from tests.lab.daemon import HARNESS, Daemon, daemon, enforcing_settings
from tests.lab.rates import Way
from tests.lab.topology import Lab


@pytest.fixture(scope="module")
def harness(lab: Lab) -> Iterator[Daemon]:
    settings = enforcing_settings(lab)
    settings.change(
        protect={"prefixes": ["198.51.100.0/24"]},
        halt={"spared_packets": 1_000_000_000},  # that is what is done here
    )
    with daemon(lab.gateway, settings, HARNESS) as running:
        yield running


@pytest.mark.parametrize("version", [4, 6])
def test_wrong_verdict_for_a_registered_address_slows_nothing(
    lab: Lab, harness: Daemon, version: int
) -> None:
    family = f"ipv{version}"
    before = harness.metric("vpngate_spared_packets_total", family=family)
    throttled = harness.metric("vpngate_throttled_packets_total")
    with (
        wireguard.tunnel(lab.client, lab.member, version=version) as tunnel,
        wireguard.tunnel(lab.member, lab.stranger, version=version) as control,
    ):
        port = int(
            tunnel.client.namespace.run("wg", "show", tunnel.device, "listen-port")
        )
        harness.ask(
            "throttle_regardless",
            subscriber=[lab.client.at(version).address, port],
            remote=[lab.member.at(version).address, tunnel.port],
        )
        flow = Way(tunnel.client, tunnel.server)
        beside = Way(control.client, control.server)
        offers = [
            rates.beside(lab, flow, beside),
            rates.beside(lab, flow.back, beside.back),
        ]
    assert [offer.faults for offer in offers] == [[], []]
    spared = harness.metric("vpngate_spared_packets_total", family=family) - before
    assert spared >= sum(offer.received for offer in offers)
    assert harness.metric("vpngate_throttled_packets_total") == throttled


def test_protected_prefix_is_spared_like_a_registered_one(
    lab: Lab, harness: Daemon
) -> None:
    throttled = harness.metric("vpngate_throttled_packets_total")
    allowed = {"tunnel": "wireguard", "verdict": "allow"}
    before = harness.metric("vpngate_flows_total", **allowed)
    with (
        wireguard.tunnel(lab.client, lab.stranger) as tunnel,
        wireguard.tunnel(lab.member, lab.stranger) as control,
    ):
        harness.wait_for_flow("wireguard", "allow", int(before) + 1)
        offer = rates.beside(
            lab,
            Way(tunnel.client, tunnel.server),
            Way(control.client, control.server),
        )
    assert offer.faults == []
    assert harness.metric("vpngate_throttled_packets_total") == throttled
