# SPDX-License-Identifier: GPL-2.0-or-later
"""What beside interfaces themselves asks a packet for what a pair takes off.

Knows filters, chains and kernels; `taken_off.py` knows which interfaces are meant, and
that they are left alone.
"""
