# SPDX-License-Identifier: GPL-2.0-or-later
"""From sources, or a file, to a registry that may be put in force, or why not.

Knows the order of a load (fetch, verify, read, guard, carry over, keep), and that a
failure at any step means that nothing has happened. The daemon and the commands take
the same way; a command keeps nothing and starts from nothing. Does not know how a
registry is put in force.
"""
