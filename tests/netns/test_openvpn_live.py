# SPDX-License-Identifier: GPL-2.0-or-later
"""A real OpenVPN client and server: slowed when unregistered, untouched when not."""

from functools import partial
from pathlib import Path

import pytest

from tests.lab import openvpn, rates
from tests.lab.daemon import Daemon
from tests.lab.openvpn import Wrapping
from tests.lab.rates import Way
from tests.lab.topology import Lab

TRANSPORTS = ("udp", "tcp")


@pytest.mark.parametrize("wrapping", [Wrapping.PLAIN, Wrapping.TLS_CRYPT])
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_unregistered_openvpn_has_its_rate(
    lab: Lab, enforcing: Daemon, transport: str, wrapping: Wrapping
) -> None:
    throttled = enforcing.metric("vpngate_flows_total", verdict="throttle")
    with openvpn.tunnel(
        lab.client, lab.stranger, wrapping=wrapping, tcp=transport == "tcp"
    ) as tunnel:
        enforcing.wait_for_flow("openvpn", "throttle", int(throttled) + 1)
        for ends in ((tunnel.client, tunnel.server), (tunnel.server, tunnel.client)):
            measured = rates.class_rates(lab, *ends)
            assert measured == [pytest.approx(rates.RATE, rel=rates.TOLERANCE)]


@pytest.mark.parametrize("wrapping", [Wrapping.PLAIN, Wrapping.TLS_CRYPT])
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_registered_openvpn_is_untouched(
    lab: Lab, enforcing: Daemon, transport: str, wrapping: Wrapping
) -> None:
    allowed = enforcing.metric("vpngate_flows_total", verdict="allow")
    tunnel_to = partial(openvpn.tunnel, wrapping=wrapping, tcp=transport == "tcp")
    with (
        tunnel_to(lab.client, lab.member) as tunnel,
        tunnel_to(lab.member, lab.stranger) as other,
    ):
        enforcing.wait_for_flow("openvpn", "allow", int(allowed) + 1)
        flow, control = (Way(each.client, each.server) for each in (tunnel, other))
        for ways in ((flow, control), (flow.back, control.back)):
            assert rates.beside(lab, *ways).faults == []


@pytest.mark.parametrize("client_first", [True, False], ids=["client", "server"])
@pytest.mark.parametrize(
    "wrapping", [Wrapping.PLAIN, Wrapping.TLS_AUTH, Wrapping.TLS_CRYPT]
)
def test_two_peers_that_call_each_other_have_their_rate(
    lab: Lab, enforcing: Daemon, wrapping: Wrapping, *, client_first: bool
) -> None:
    """Whoever is started first: the other one's reset crosses its own."""
    throttled = enforcing.metric("vpngate_flows_total", verdict="throttle")
    with openvpn.between_peers(
        lab.client, lab.stranger, wrapping=wrapping, client_first=client_first
    ) as tunnel:
        enforcing.wait_for_flow("openvpn", "throttle", int(throttled) + 1)
        measured = rates.class_rates(lab, tunnel.client, tunnel.server)
        assert measured == [pytest.approx(rates.RATE, rel=rates.TOLERANCE)]


@pytest.mark.skipif(not Path("/proc/sys/net/mptcp").exists(), reason="needs MPTCP")
def test_openvpn_over_multipath_tcp_has_its_rate(lab: Lab, enforcing: Daemon) -> None:
    """Its first segments have TCP headers of 56 and 60 bytes."""
    throttled = enforcing.metric("vpngate_flows_total", verdict="throttle")
    with openvpn.tunnel(
        lab.client, lab.stranger, tcp=True, through=("mptcpize", "run")
    ) as tunnel:
        accepted = ("nstat", "-asz", "MPTcpExtMPCapableSYNACKRX")
        assert float(lab.client.namespace.run(*accepted).split()[-2]) >= 1
        enforcing.wait_for_flow("openvpn", "throttle", int(throttled) + 1)
        measured = rates.class_rates(lab, tunnel.client, tunnel.server)
        assert measured == [pytest.approx(rates.RATE, rel=rates.TOLERANCE)]
