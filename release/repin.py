# SPDX-License-Identifier: GPL-2.0-or-later
"""Moves one pin to another version, and keeps everything else: `make repin PIN=a==1.2`.

Knows constraints.txt and the files that `make hashes` writes; SystemExit, and
everything as before, if anything but that package would change. The packages are then
built anew by `make package REVISION=2`.
"""

import re
import sys
from collections.abc import Mapping
from pathlib import Path

from packaging.utils import canonicalize_name

from release import hashes
from release.pins import CONSTRAINTS

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
        CONSTRAINTS.write_text(repinned(before[CONSTRAINTS], pin))
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
