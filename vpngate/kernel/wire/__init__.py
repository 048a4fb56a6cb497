# SPDX-License-Identifier: GPL-2.0-or-later
"""The wire: netlink, as bytes that go to the kernel and come back.

Knows how nftables, traffic control, links and addresses are spelled, each number
once; does not know what any of it is for.
"""
