# SPDX-License-Identifier: GPL-2.0-or-later
"""What everybody may see: the status page, the self-check, the transparency report.

Knows what is told to whom and in which words, and HTML; does not know how anything is
counted, and keeps nothing of anybody who asks.
"""
