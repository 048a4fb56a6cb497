# SPDX-License-Identifier: GPL-2.0-or-later
"""`vpngate observe`: have the running daemon slow nobody, at once.

Knows the request; the daemon knows what follows.
"""

from vpngate.cli.steering.order import Order

_order = Order("observe", "have the running daemon slow nobody, at once")
add_parser, run = _order.add_parser, _order.run
