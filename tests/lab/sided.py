# SPDX-License-Identifier: GPL-2.0-or-later
"""A gateway that acts on one side of it, and a handshake between two of its hosts.

The operator filters by reverse path himself: IPv4 by the kernel's own filter, IPv6,
which has none, by a rule of nftables.
"""

import contextlib
from collections.abc import Iterator

from tests.lab import forging, handshakes, topology
from tests.lab.daemon import Daemon, daemon, enforcing_settings
from tests.lab.forging import Flow
from tests.lab.topology import Host, Lab
from vpngate.packets import Transport


@contextlib.contextmanager
def gateway(
    side: str, *, masquerade: bool = False, share: int = 100
) -> Iterator[tuple[Lab, Daemon]]:
    """A lab whose operator filters, and a daemon that enforces on one side of it."""
    with topology.build(masquerade=masquerade) as lab:
        topology.filter_sources(lab.gateway)
        settings = enforcing_settings(lab)
        settings.change(gateway={"side": side, "enforce_share": share})
        if side == "uplink":
            settings.change(gateway={"interfaces": ["wan*"], "nat": False})
        with daemon(lab.gateway, settings) as running:
            yield lab, running


def shake_hands(near: tuple[Host, str], far: tuple[Host, str], port: int) -> Flow:
    """WireGuard's handshake, written by hand, between two hosts at these addresses."""
    opening = handshakes.wireguard()
    flow = Flow(near[1], far[1], port, opening.port, Transport.UDP)
    with forging.mouth(near[0]) as asking, forging.mouth(far[0]) as answering:
        forging.tell(asking, flow, opening.request, back=False)
        forging.tell(answering, flow, opening.answer, back=True)
    return flow
