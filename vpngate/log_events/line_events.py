# SPDX-License-Identifier: GPL-2.0-or-later
"""What happened, by a name that does not change: the part of a log line for programs.

Knows how a name and its fields travel with a line (`logging`'s `extra`), and how an
error is told without what it was about; does not know which lines there are: the table
in docs/logs.md does, and a test holds it against every call.
"""

import traceback
from collections.abc import Mapping
from typing import Any, NamedTuple

NAME, FIELDS = "event", "fields"
_FRAMES = 4  # of a traceback, the innermost


class Told(NamedTuple):
    """The event of a line: its name, and what is counted or named beside it."""

    name: str
    fields: Mapping[str, Any]


def named(name: str, /, **fields: object) -> dict[str, Any]:
    """The `extra` of a log call. No field may hold an address of anybody's."""
    return {NAME: name, FIELDS: fields}


def event_of(record: object) -> Told | None:
    """The event of a log record; None for a line of another library."""
    name = getattr(record, NAME, None)
    return None if name is None else Told(str(name), getattr(record, FIELDS, {}))


def place_of(error: BaseException) -> str:
    """An error by its kind, and where it came up: the innermost frames.

    Its text is left out: it may quote a packet, or a question about an address.
    """
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    files = (frame.filename.rpartition("vpngate/")[2] for frame in frames)
    places = [
        f"{file}:{frame.lineno}" for file, frame in zip(files, frames, strict=True)
    ]
    return f"{type(error).__name__} at {' < '.join(reversed(places)) or '?'}"
