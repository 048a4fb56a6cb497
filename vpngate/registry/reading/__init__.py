# SPDX-License-Identifier: GPL-2.0-or-later
"""From the bytes of a registry to its rows, and to the reasons why not.

Knows the forms a registry comes in (CSV, JSON, gzip or not) and what a field may hold;
does not know whether what was read may be used.
"""
