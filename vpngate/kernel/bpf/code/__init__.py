# SPDX-License-Identifier: GPL-2.0-or-later
"""What the programs do, step by step, as instructions.

Knows which register and which place of the stack holds what, from one step to the
next; does not know how a program is loaded, nor what the daemon writes into its maps.
"""
