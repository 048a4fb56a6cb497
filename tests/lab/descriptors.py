# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel tells of a process's descriptors (/proc/PID/fdinfo).

Knows how it is written; does not know what any of them is for.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path


def told_of(process: int | str) -> Iterator[Mapping[str, str]]:
    """Names and values of each, as they stand there; those that close are passed over.

    FileNotFoundError where there is no such process.
    """
    for entry in Path(f"/proc/{process}/fdinfo").iterdir():
        try:
            lines = entry.read_text().splitlines()
        except FileNotFoundError:
            continue
        pairs = (line.partition(":") for line in lines)
        yield {name: value.strip() for name, colon, value in pairs if colon}
