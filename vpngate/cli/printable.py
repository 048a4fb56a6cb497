# SPDX-License-Identifier: GPL-2.0-or-later
"""Text from outside, without what a terminal would obey.

Knows which characters are printed as they are; does not know where a text comes from.
"""


def printable(text: str) -> str:
    """The text on one line, what is not printable as an escape sequence of Python's."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
