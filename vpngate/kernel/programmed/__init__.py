# SPDX-License-Identifier: GPL-2.0-or-later
"""What programs and maps hold, behind the names by which the table's parts are known.

Knows how each part of a data plane is written and read back where eBPF does the work;
does not know shaping, nor in which order changes are made.
"""
