# SPDX-License-Identifier: GPL-2.0-or-later
"""Moments, spans of them, and what time it is where a clock may have jumped.

Knows how moments are written and what a clock has shown; does not read a clock.
"""
