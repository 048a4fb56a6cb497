# SPDX-License-Identifier: GPL-2.0-or-later
"""A real OpenVPN is recognised however it wraps its control channel."""

import pytest

from tests.lab import openvpn
from tests.lab.daemon import Daemon
from tests.lab.openvpn import Wrapping
from tests.lab.topology import Lab

TRANSPORTS = ("udp", "tcp")


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("wrapping", list(Wrapping))
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_every_variant_is_recognised(
    lab: Lab, enforcing: Daemon, transport: str, wrapping: Wrapping, version: int
) -> None:
    family = f"ipv{version}"
    labels = {"tunnel": "openvpn", "verdict": "throttle", "family": family}
    before = enforcing.metric("vpngate_flows_total", **labels)
    with openvpn.tunnel(
        lab.neighbour,
        lab.stranger,
        wrapping=wrapping,
        tcp=transport == "tcp",
        version=version,
    ):
        enforcing.wait_until(
            lambda: enforcing.metric("vpngate_flows_total", **labels) == before + 1,
            f"OpenVPN ({wrapping}, {transport}, {family}) being recognised",
        )


@pytest.mark.parametrize("digest", ["MD5", "SHA256", "SHA512"])
def test_every_length_of_hmac_is_recognised(
    lab: Lab, enforcing: Daemon, digest: str
) -> None:
    labels = {"tunnel": "openvpn", "verdict": "throttle"}
    before = enforcing.metric("vpngate_flows_total", **labels)
    with openvpn.tunnel(
        lab.neighbour,
        lab.stranger,
        wrapping=Wrapping.TLS_AUTH,
        options=("--auth", digest),
    ):
        enforcing.wait_until(
            lambda: enforcing.metric("vpngate_flows_total", **labels) == before + 1,
            f"OpenVPN with --auth {digest} being recognised",
        )
