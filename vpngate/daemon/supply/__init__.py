# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the daemon's registries come from: the sources or the disk, through the guard.

Knows the order of a load, and that a failure at any step means that nothing has
happened; does not know how a registry is put in force.
"""
