# SPDX-License-Identifier: GPL-2.0-or-later
"""Text from outside, made fit for a line that people and programs read.

Knows which characters command a terminal, begin another line, or turn the reading
direction; does not know where a text came from. Every message passes here once more
where it is shown, so that nobody has to remember who wrote which part of it.
"""

LONGEST = 1000  # characters of one message


def plain(text: str, longest: int = LONGEST) -> str:
    """The text on one line, what is not printable escaped as Python writes it.

    Not printable are controls, format characters (those for the reading direction
    among them), surrogates, all ends of lines, and every blank but the space
    (`str.isprintable`). What is longer than `longest` is cut, and says so.
    """
    if len(text) > longest:
        text = f"{text[:longest]}..."
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode()
