# SPDX-License-Identifier: GPL-2.0-or-later
"""Captures that somebody kept: where they lie, and how they are written.

Knows pcap and pcapng; does not know what a packet means.
"""
