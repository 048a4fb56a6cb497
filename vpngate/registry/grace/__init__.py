# SPDX-License-Identifier: GPL-2.0-or-later
"""Who left the registry, and how long they stand yet.

Knows two registries and the present; does not know whether the newer may be used.
"""
