# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether all is well, and what is told of it.

Knows what is looked at, and how often nothing may be heard; does not know how any of
it is done.
"""
