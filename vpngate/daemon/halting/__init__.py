# SPDX-License-Identifier: GPL-2.0-or-later
"""What makes the daemon stop enforcing of itself.

Knows how the reasons are looked for, and whom to tell; does not know what a halt is
(`vpngate.stance`), nor how it is brought into force.
"""
