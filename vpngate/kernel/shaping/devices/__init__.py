# SPDX-License-Identifier: GPL-2.0-or-later
"""The devices at whose roots the classes stand: each kind made, found and deleted.

Knows what they are called and what tells them from others'; does not know classes.
"""
