# SPDX-License-Identifier: GPL-2.0-or-later
"""Packets as they come: copies by the kernel, and mirrored ports.

Knows sockets and devices; does not know what a packet means.
"""
