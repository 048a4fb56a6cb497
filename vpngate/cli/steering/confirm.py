# SPDX-License-Identifier: GPL-2.0-or-later
"""`vpngate confirm`: have what is to be confirmed stay in force.

Knows the request; the daemon knows what follows.
"""

from vpngate.cli.steering.order import Order

_order = Order("confirm", "say that what waits to be confirmed is well")
add_parser, run = _order.add_parser, _order.run
