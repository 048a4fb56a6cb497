# SPDX-License-Identifier: GPL-2.0-or-later
"""Prefixes of addresses: one as people write it, and millions as sets.

Knows both families, how prefixes are written, and set arithmetic in bulk; does not
know whose prefixes they are, or what they are for.
"""
