# SPDX-License-Identifier: GPL-2.0-or-later
"""Which interfaces are attached on this machine, which are left alone, and why.

Knows what of the machine keeps vpngate from attaching or acting; does not know who
asks, nor how anything is attached.
"""
