# SPDX-License-Identifier: GPL-2.0-or-later
"""The second readers: what scapy's classes make of a tunnel's messages.

One file a tunnel. It knows which class dissects which message, and what its fields
amount to; it does not know what `vpngate.tunnels` made of the packet. A flow counts as
confirmed only where both read the same, and the two share nothing but the
specification: no constant, no offset, no function. Whoever changes a check on one side
changes it on the other, or nothing is confirmed.

scapy describes without verifying, so each reader asks the fields itself: types,
reserved bits, lengths against the packet's, the chain of payloads, ports, numbers. It
dissects headers and stops there: a whole IKE_SA_INIT would take scapy 1.4 ms.

A module of this package loads scapy, which takes a quarter of a second: only a tunnel's
`second` imports one.
"""

from vpngate.tunnels.messages.left_out import (
    without_ciphers,
    without_names_of_devices,
)

with without_ciphers(), without_names_of_devices():
    from scapy.config import conf
    from scapy.interfaces import NetworkInterfaceDict


class _NoInterfaces(NetworkInterfaceDict):  # type: ignore[misc]  # scapy is untyped
    """Nobody sends here, so nothing of this machine is read."""

    def register_provider(self, provider: type) -> None:
        """Ask no source of interfaces."""


# Scapy dissects every interface and every route of the machine as it is loaded, each in
# up to 20 ms of CPU; a gateway may have a thousand of the one, a million of the other.
conf.route_autoload = conf.route6_autoload = False
conf.ifaces = _NoInterfaces()
