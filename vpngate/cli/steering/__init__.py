# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands that have the running daemon act on more, or on less.

Knows their options; does not know what follows (`vpngate/stance`).
"""
