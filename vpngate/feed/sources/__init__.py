# SPDX-License-Identifier: GPL-2.0-or-later
"""One source asked: a file or an https address, by when, and what it has.

Knows what makes a registry acceptable before a byte of it is parsed; does not know
the other sources, nor what is kept.
"""
