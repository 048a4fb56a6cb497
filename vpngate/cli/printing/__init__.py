# SPDX-License-Identifier: GPL-2.0-or-later
"""How results are shown: tables, flows, moments, a line of progress.

Knows terminals and people; does not know commands.
"""
