# SPDX-License-Identifier: GPL-2.0-or-later
"""Where throttled packets wait: devices, their classes, and the queues of these.

Knows places, of which each has a class a direction; does not know whose they are, nor
which flows lead there.
"""
