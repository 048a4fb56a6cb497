# SPDX-License-Identifier: GPL-2.0-or-later
"""What happens as the second readers are loaded, in a process of their own."""

import subprocess
import sys

_PROGRAM = """
from vpngate.tunnels.messages import ike, ipsec, l2tp, openvpn, pptp, wireguard
from scapy.config import conf
print(len(conf.ifaces), len(conf.route.routes), len(conf.route6.routes))
"""


def test_neither_interfaces_nor_routes_of_the_machine_are_read() -> None:
    """A gateway may have a thousand and a million of them, and each takes its time."""
    program = [sys.executable, "-c", _PROGRAM]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "0", "0"]
