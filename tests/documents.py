# SPDX-License-Identifier: GPL-2.0-or-later
"""What the documents show being typed, who types it in a test, what it has to print.

Knows blocks of code, prompts, and the headings above them; does not run anything. In a
block, a line behind `# ` or `$ ` (not as root) is typed, two blanks and a `#` begin a
comment, `# status 1` in one says how it ends. The other lines are what it prints, in
this order, with any numbers in place of those shown, any blanks, and anything for
`...`.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.house import ROOT

ON_A_MACHINE = "tests/systemd/test_documents.py"
AS_A_PUBLISHER = "tests/faults/test_registry_page.py"
IN_A_REPOSITORY = "tests/unit/cli/test_readme.py"

# By document and heading.
RUN_BY = {
    ("README.md", "Five minutes"): ON_A_MACHINE,
    ("README.md", "Why a flow was judged as it was"): IN_A_REPOSITORY,
    ("docs/explain.md", "Why a flow was judged as it was"): IN_A_REPOSITORY,
    ("docs/fleet.md", "Publish"): AS_A_PUBLISHER,
    ("docs/fleet.md", "A registry in two steps"): AS_A_PUBLISHER,
    ("docs/fleet.md", "All of them, at once"): AS_A_PUBLISHER,
    (
        "docs/high-availability.md",
        "The same subscribers on every gateway",
    ): ON_A_MACHINE,
    ("docs/operating.md", "Install"): ON_A_MACHINE,
    ("docs/operating.md", "Then enforce"): ON_A_MACHINE,
    ("docs/operating.md", "What to watch"): ON_A_MACHINE,
    ("docs/playbooks.md", "What to type when"): ON_A_MACHINE,
    ("docs/playbooks.md", "A subscriber says his VPN is slow"): ON_A_MACHINE,
    ("docs/playbooks.md", "The feed failed"): ON_A_MACHINE,
    ("docs/playbooks.md", "It halted"): ON_A_MACHINE,
    ("docs/playbooks.md", "Roll out to 40 gateways"): ON_A_MACHINE,
    ("docs/playbooks.md", "Upgrade"): ON_A_MACHINE,
    ("docs/playbooks.md", "Go back"): ON_A_MACHINE,
    ("docs/registry.md", "Publish"): AS_A_PUBLISHER,
    ("docs/registry.md", "What takes its place, and when"): AS_A_PUBLISHER,
    ("docs/registry.md", "Serials"): AS_A_PUBLISHER,
    ("docs/registry.md", "Suspend"): AS_A_PUBLISHER,
    ("docs/registry.md", "A new key"): AS_A_PUBLISHER,
}
NOT_RUN = {
    ("README.md", "Two commands"): "they are what runs this",
    (
        "docs/operating.md",
        "Without the package",
    ): "asks the index for all packages anew;"
    " a package is built from the same files by the same hashes",
}
# Copies to a machine that a test does not have.
LINES_NOT_RUN = ("rsync ",)

_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


class Typed(NamedTuple):
    """A line, who types it, how it ends, and what it prints."""

    line: str
    as_root: bool
    status: int
    shown: tuple[str, ...]


class Block(NamedTuple):
    """A block of code below a heading."""

    document: str
    heading: str
    language: str
    text: str

    @property
    def place(self) -> tuple[str, str]:
        return self.document, self.heading

    def typed(self) -> Iterator[Typed]:
        """The lines of a console that are typed, with what each prints."""
        for part in re.split(r"(?m)^(?=[#$] )", self.text):
            if part:
                first, *shown = part.rstrip("\n").split("\n")
                line, _, comment = first[2:].partition("  #")
                status = re.search(r"status (\d+)", comment)
                yield Typed(
                    line.strip(),
                    first[0] == "#",
                    int(status[1]) if status else 0,
                    tuple(shown),
                )


def documents() -> list[Path]:
    """The pages for operators."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(*languages: str) -> Iterator[Block]:
    """The blocks of all documents in these languages, in their order."""
    for path in documents():
        text = path.read_text()
        for found in _FENCE.finditer(text):
            indent, language, inside = found.groups()
            if language in languages:
                above = [
                    m[1] for m in _HEADING.finditer(_unfenced(text[: found.start()]))
                ]
                lines = (line.removeprefix(indent) for line in inside.split("\n"))
                name = str(path.relative_to(ROOT))
                yield Block(name, above[-1], language, "\n".join(lines))


def _unfenced(text: str) -> str:
    return _FENCE.sub("", text)


def missing(shown: tuple[str, ...], printed: str) -> str:
    """The first line that should have been printed, and was not; empty if none."""
    lines = iter(printed.splitlines())
    for line in shown:
        pattern = re.compile(_pattern(line.strip()))
        if not any(pattern.search(each) for each in lines):
            return line
    return ""


def _pattern(line: str) -> str:
    parts = re.split(r"(\.\.\.|\d+|\s+)", line)
    return "".join(
        {"...": ".*"}.get(part)
        or (r"\d+" if part.isdigit() else r"\s+" if part.isspace() else re.escape(part))
        for part in parts
        if part
    )
