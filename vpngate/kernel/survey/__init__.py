# SPDX-License-Identifier: GPL-2.0-or-later
"""The survey: what else there is in this machine's kernel, and what it can do.

Knows how to look, and how to try things where nobody is; does not know what any of
it means for a gateway.
"""
