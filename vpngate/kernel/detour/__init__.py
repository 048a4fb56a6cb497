# SPDX-License-Identifier: GPL-2.0-or-later
"""The detour: where throttled packets wait for their turn.

Knows which flows have a verdict, and the class that each of them leads to; does not
know why a flow is slowed, nor the rules that send its packets here.
"""
