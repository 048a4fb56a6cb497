# SPDX-License-Identifier: GPL-2.0-or-later
"""Packets in, verdicts out.

Knows what happens to each packet and in which order; does not know where the snapshot
it decides by comes from.
"""
