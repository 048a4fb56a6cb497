# SPDX-License-Identifier: GPL-2.0-or-later
"""vpngate slows unregistered VPN tunnels on a Linux gateway, and nothing else."""

__version__ = "0.1.0"
