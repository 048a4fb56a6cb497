# SPDX-License-Identifier: GPL-2.0-or-later
"""The nftables table that this process owns, and the addresses that it spares.

Knows how the table is changed and read back; does not know what happens to packets
that its rules send away.
"""
