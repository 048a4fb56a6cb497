# SPDX-License-Identifier: GPL-2.0-or-later
"""Subscribers behind a link of each kind are slowed, and nobody else.

    subscriber ┬ hooked, of the kind ──┐           ┌ stranger
    twin       ┴ not hooked, likewise ─┼ gateway ──┤
    neighbour  ─ hooked, a wire ───────┘           └ member, whose address is registered

Collected by `make kernels` alone: it needs devices that not every machine's kernel has.
"""

import json
from collections.abc import Iterator

import pytest

from tests.kernels.kinds import KINDS, Site, build
from tests.lab import forging, handshakes, load, rates, victims, wireguard
from tests.lab.daemon import Daemon, daemon, enforcing_settings
from tests.lab.namespaces import Namespace
from tests.lab.rates import Way
from tests.planes import PLANE
from vpngate.config import Plane
from vpngate.kernel.bpf.needs.kernel_release import is_before
from vpngate.packets import Transport

_RATE = 512e3  # bit/s: slow enough for a kernel that is emulated
_LITTLE = 50e3  # bit/s: fits into it
_OFFERED = 2.5e6  # bit/s that nobody slows
_TOLERANCE = 0.1
_NEIGHBOURS = "lan4"


@pytest.fixture(scope="module", params=KINDS)
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    if request.param == "ppp" and PLANE is Plane.EBPF and is_before((6, 6)):
        pytest.skip("programs leave PPP alone on this kernel")
    with build(KINDS[request.param]) as built:
        yield built


@pytest.fixture(scope="module")
def running(site: Site) -> Iterator[Daemon]:
    settings = enforcing_settings(site)
    settings.change(
        gateway={"interfaces": [site.interfaces[0], _NEIGHBOURS]},
        throttle={"rate": "512kbit"},
    )
    with daemon(site.gateway, settings) as started:
        yield started


def test_what_has_no_packets_of_its_own_is_left_alone_and_named(site: Site) -> None:
    """A VLAN's parent, a bond's port, a VRF: their packets are another interface's.

    The first test: the daemon of the others reads the same group of NFLOG.
    """
    settings = enforcing_settings(site, "all")
    settings.change(gateway={"interfaces": ["*"]})
    with daemon(site.gateway, settings) as started:
        told = started.ask("status")
    assert set(told["interfaces_left_alone"]) == site.left_alone
    assert {*site.interfaces, _NEIGHBOURS} <= set(told["interfaces"])


def _leaves(gateway: Namespace) -> set[str]:
    """The kinds of queues in which throttled packets wait."""
    devices = load.shaping_devices(gateway)
    listed = [
        json.loads(gateway.run("tc", "-j", "qdisc", "show", "dev", device))
        for device in devices
    ]
    return {qdisc["kind"] for of_one in listed for qdisc in of_one}


@pytest.mark.parametrize("version", [4, 6])
def test_a_tunnel_is_slowed_to_the_rate_both_ways(
    site: Site, running: Daemon, version: int
) -> None:
    """What fits the rate arrives whole; more than fits leaves at the rate."""
    known = int(victims.verdicts(running)["wireguard"])
    with wireguard.tunnel(site.subscriber, site.stranger, version=version) as tunnel:
        running.wait_for_flow("wireguard", "throttle", known + 1)
        before = _diverted(running)
        with load.exchange(
            tunnel.client, tunnel.server, up=_LITTLE, down=_LITTLE
        ) as little:
            running.wait_until(
                lambda: min(_since(running, before)) >= 30, "packets by the detour"
            )
            said = little.stop()
        assert (said.up.lost, said.down.lost) == (0, 0)
        for pull in (False, True):
            [rate] = rates.class_rates(
                site, tunnel.client, tunnel.server, rate=_RATE, pull=pull
            )
            assert rate == pytest.approx(_RATE, rel=_TOLERANCE)
        assert "fq_codel" in _leaves(site.gateway)


def _diverted(running: Daemon) -> tuple[float, float]:
    up, down = (
        running.metric("vpngate_throttled_packets_total", direction=direction)
        for direction in ("upload", "download")
    )
    return up, down


def _since(running: Daemon, before: tuple[float, float]) -> list[float]:
    return [now - then for now, then in zip(_diverted(running), before, strict=True)]


def _faults(site: Site, flow: Way, control: Way) -> list[str]:
    """In which ways a flow is not left alone, either way."""
    return [
        fault
        for ways in ((flow, control), (flow.back, control.back))
        for fault in rates.beside(site, *ways, rate=_OFFERED, limit=_RATE).faults
    ]


def test_a_registered_tunnel_is_left_alone(site: Site, running: Daemon) -> None:
    """The twin's, by a link of the same kind without a hook, is the control."""
    before = victims.verdicts(running)
    with (
        wireguard.tunnel(site.subscriber, site.member) as registered,
        wireguard.tunnel(site.twin, site.member) as control,
    ):
        running.wait_for_flow("wireguard", "allow")
        ways = (Way(each.client, each.server) for each in (registered, control))
        assert _faults(site, *ways) == []
    assert victims.verdicts(running) == before


@pytest.mark.usefixtures("running")
def test_plain_packets_are_untouched(site: Site) -> None:
    """The subscriber's, beside the twin's."""
    ways = (Way(host.at(), site.stranger.at()) for host in (site.subscriber, site.twin))
    assert _faults(site, *ways) == []


def test_forged_halves_are_no_evidence(site: Site, running: Daemon) -> None:
    """A neighbour says both halves of a handshake in the subscriber's name."""
    opening = handshakes.wireguard()
    ends = site.subscriber.ipv4, site.stranger.ipv4
    flow = forging.Flow(*ends, 40_000, opening.port, Transport.UDP)
    before = victims.verdicts(running)
    failed = running.metric("vpngate_reverse_path_failed_packets_total")
    with forging.mouth(site.neighbour) as mouth:
        forging.tell(mouth, flow, opening.request, back=False)
        forging.tell(mouth, flow, opening.answer, back=True)
    running.wait_until(
        lambda: (
            running.metric("vpngate_reverse_path_failed_packets_total") == failed + 2
        ),
        "two forgeries that are counted",
    )
    assert victims.verdicts(running) == before
