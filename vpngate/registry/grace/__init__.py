# SPDX-License-Identifier: GPL-2.0-or-later
"""Who has left the registry, and how much longer they count as registered.

Knows two registries and the time; does not know whether the newer may be used.
"""
