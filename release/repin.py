# SPDX-License-Identifier: GPL-2.0-or-later
"""Moves one pin to another version, and keeps everything else: `make repin PIN=a==1.2`.

Knows constraints.txt, what pyproject.toml and the installed packages require, and the
files that `make hashes` writes; SystemExit, and everything as before, if one of them
does not take that version, or anything but that package would change. The packages are
then built anew by `make package REVISION=2`.
"""

import re
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from release import hashes
from release.pins import CONSTRAINTS, pins, project

_ENTRY = re.compile(r"(?m)^([\w.-]+)==(?:.*\\\n)*.*\n")


def repinned(text: str, pin: str) -> str:
    """The constraints with one line changed; SystemExit where there is none for it."""
    name, separator, version = pin.partition("==")
    lines = text.splitlines()
    for place, line in enumerate(lines):
        known = line.partition("==")[0]
        if separator and canonicalize_name(known) == canonicalize_name(name):
            lines[place] = f"{known}=={version}"
            return "\n".join(lines) + "\n"
    raise SystemExit(f"{pin!r} is no NAME==VERSION of a package in {CONSTRAINTS.name}")


def objections(pin: str) -> Iterator[str]:
    """Who does not take that version, and which packages go with it.

    What is not installed is not asked.
    """
    name, _, version = pin.partition("==")
    name = canonicalize_name(name)
    for use, asked in project().items():
        yield from _not_taken(f"pyproject.toml ({use})", asked, name, version)
    for other in pins():
        if other != name:
            yield from _not_taken(other, _required(other), name, version)
    for needed in _required(name):
        if any(each.operator == "==" for each in needed.specifier):
            remedy = f"change both in {CONSTRAINTS.name}, then `make hashes`"
            yield f"{name} and {needed.name} go together: {remedy}"


def _not_taken(
    whose: str, asked: list[Requirement], name: str, version: str
) -> Iterator[str]:
    for each in asked:
        if canonicalize_name(each.name) == name and version not in each.specifier:
            yield f"{whose} requires {each}"


def _required(name: str) -> list[Requirement]:
    try:
        lines = requires(name) or ()
    except PackageNotFoundError:
        return []
    found = map(Requirement, lines)
    return [r for r in found if r.marker is None or r.marker.evaluate({"extra": ""})]


def others(before: Mapping[Path, str], name: str) -> list[str]:
    """The packages beside `name` whose entries are not what they were."""
    moved = {
        entry
        for path, text in before.items()
        for entry in {*_entries(text)} ^ {*_entries(path.read_text())}
    }
    return sorted({each for each, _ in moved} - {canonicalize_name(name)})


def _entries(text: str) -> list[tuple[str, str]]:
    return [(canonicalize_name(m[1]), m[0]) for m in _ENTRY.finditer(text)]


def main() -> None:
    """Change constraints.txt and requirements/."""
    (pin,) = sys.argv[1:]
    files = (CONSTRAINTS, *sorted(hashes.FOLDER.iterdir()))
    before = {path: path.read_text() for path in files}
    try:
        changed = repinned(before[CONSTRAINTS], pin)
        if against := [*objections(pin)]:
            sys.exit(f"{pin} does not fit: {'; '.join(against)}")
        CONSTRAINTS.write_text(changed)
        hashes.main()
        if moved := others(before, pin.partition("==")[0]):
            sys.exit(f"these would change, too: {', '.join(moved)}")
    except BaseException:
        for path, text in before.items():
            path.write_text(text)
        raise
    print(f"{pin}; now: make setup test, then make package REVISION=...")


if __name__ == "__main__":
    main()
