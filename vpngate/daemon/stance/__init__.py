# SPDX-License-Identifier: GPL-2.0-or-later
"""Who moves the stance: people, through the control socket, and time.

Knows how each becomes an event; does not know what follows (`vpngate/stance`).
"""
