# SPDX-License-Identifier: GPL-2.0-or-later
"""A manual page as roff with the macros of man(7).

Knows macros and what has to be escaped; does not know what a page is about. Text comes
in as plain words in which `so` marks what is typed as it stands.
"""

import re
from collections.abc import Iterable

_WIDTH = 88
_QUOTED = re.compile(r"`([^`]*)`")


class Page:
    """The lines of one page, from its head down."""

    def __init__(self, name: str, section: int, version: str, manual: str) -> None:
        self._name = name
        head = f'"{name.upper()}" "{section}" "" "{version}" "{manual}"'
        self._lines = [
            '.\\" SPDX-License-Identifier: GPL-2.0-or-later',
            '.\\" Made by `make manual` from the program itself.',
            f".TH {head}",
            ".nh",  # names of options are not to be hyphenated
            ".ad l",
        ]

    def named(self, what: str) -> None:
        """The line by which whatis(1) finds the page."""
        self._lines += ['.SH "NAME"', f"{escaped(self._name)} \\- {what}"]

    def section(self, title: str) -> None:
        """A heading."""
        self._lines.append(f'.SH "{title}"')

    def subsection(self, title: str) -> None:
        """A heading below one."""
        self._lines.append(f'.SS "{escaped(title)}"')

    def text(self, words: str) -> None:
        """Paragraphs, a blank line between each two."""
        for paragraph in words.split("\n\n"):
            self._lines += [".PP", *_running(paragraph)]

    def plain(self, words: str) -> None:
        """Words right behind a heading, where a name is looked up."""
        self._lines += _running(words)

    def tagged(self, term: str, *paragraphs: str) -> None:
        """A term, and below it, indented, what it means."""
        self._lines += [".TP", marked(term)]
        first, *others = [each for text in paragraphs for each in text.split("\n\n")]
        self._lines += _running(first)
        for each in others:
            self._lines += [".IP", *_running(each)]

    def example(self, lines: Iterable[str]) -> None:
        """Lines that stand as they are."""
        kept = [guarded(escaped(line)) for line in lines]
        self._lines += [".PP", ".in +4n", ".nf", *kept, ".fi", ".in"]

    def __str__(self) -> str:
        return "\n".join(self._lines) + "\n"


def escaped(text: str) -> str:
    """Text whose hyphens, backslashes and quotes are to be shown as they are."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return text.replace("'", "\\(aq").replace('"', "\\(dq").replace("^", "\\(ha")


def marked(text: str) -> str:
    """Text with what is between backticks in bold."""
    parts = _QUOTED.split(text)
    shown = [
        f"\\fB{escaped(part)}\\fP" if place % 2 else _prose(part)
        for place, part in enumerate(parts)
    ]
    return guarded("".join(shown))


def guarded(line: str) -> str:
    """A line that is no request, whatever it begins with."""
    return f"\\&{line}" if line[:1] in (".", "'") else line


def _prose(text: str) -> str:
    return text.replace("\\", "\\e")


def _running(paragraph: str) -> list[str]:
    """A paragraph in lines; where they break means nothing to roff."""
    lines, line = [], ""
    for word in marked(" ".join(paragraph.split())).split(" "):
        if line and len(line) + 1 + len(word) > _WIDTH:
            lines.append(line)
            line = ""
        line = f"{line} {word}" if line else word
    return [guarded(each) for each in (*lines, line)]
