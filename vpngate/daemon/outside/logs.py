# SPDX-License-Identifier: GPL-2.0-or-later
"""How the daemon's log lines look, and where they go.

Knows the two forms (text for people, JSON for programs) and the priorities of the
journal; does not know what is logged. No message may hold a subscriber's address:
that is up to whoever logs, and a test looks for it.
"""

import json
import logging
import os
import sys
import threading
import traceback
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from vpngate.config import Config
from vpngate.log_events import event_of, named, place_of
from vpngate.plaintext import plain

_OF_A_LIBRARY = "library"  # the event of a line that Python's asyncio logs
_LONGEST = 8000  # characters: a traceback, on one line
# sd-daemon(3): a line that starts with <N> has syslog priority N.
_PRIORITIES = {
    logging.DEBUG: 7,
    logging.INFO: 6,
    logging.WARNING: 4,
    logging.ERROR: 3,
    logging.CRITICAL: 2,
}


_log = logging.getLogger(__name__)
_uncaught: deque[Any] = deque(maxlen=16)


def told(config: Config) -> Config:
    """The configuration, once it is logged what of it is outdated."""
    for line in config.outdated:
        _log.warning("%s", line, extra=named("configuration_outdated"))
    return config


class TextFormatter(logging.Formatter):
    """`2026-01-31T12:00:00Z warning feed: message`, one line a record.

    In the journal, which has its own clock and priorities, `<4>feed: message`.
    """

    def __init__(self, *, journal: bool) -> None:
        super().__init__()
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever the message holds."""
        text = f"{_room(record)}: {_message(record)}"
        if self._journal:
            return f"<{_PRIORITIES.get(record.levelno, 5)}>{text}"
        return f"{_time(record)} {record.levelname.lower()} {text}"


class JsonFormatter(logging.Formatter):
    """One object a line: time, level, room, event, message, fields."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever the message holds."""
        return json.dumps(
            {
                "time": _time(record),
                "level": record.levelname.lower(),
                "room": _room(record),
                "event": _event(record),
                "message": _message(record),
                "fields": _fields(record),
            },
            ensure_ascii=False,
        )


def set_up(
    level: str, form: str, environment: Mapping[str, str] = os.environ
) -> logging.Handler:
    """Send vpngate's log to stderr from `level` on, as `text` or `json`.

    May be called again, at a reload: the latest call counts.
    """
    handler = logging.StreamHandler(sys.stderr)
    journal = "JOURNAL_STREAM" in environment and not sys.stderr.isatty()
    handler.setFormatter(
        JsonFormatter() if form == "json" else TextFormatter(journal=journal)
    )
    for name, least in (("vpngate", level.upper()), ("asyncio", "WARNING")):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(least)
        logger.propagate = False
    return handler


def take_uncaught() -> None:
    """Keep errors that Python has nobody to give to; it quotes them on stderr.

    What keeps them is a function of C's: where memory is short no other can be called.
    """
    sys.unraisablehook = threading.excepthook = _uncaught.append


def tell_uncaught() -> None:
    """Log what was kept since.

    Not where memory did not suffice: whoever waits for such a thread is told that it
    did not begin (`threads.py`).
    """
    while _uncaught:
        told = _uncaught.popleft()
        if told.exc_value is not None and told.exc_type is not MemoryError:
            _log.error(
                "a thread: this should not have happened",
                exc_info=told.exc_value,
                extra=named("unforeseen", during="a thread"),
            )


def _room(record: logging.LogRecord) -> str:
    """The room that speaks: `feed` for `vpngate.feed.sources.https`."""
    return record.name.removeprefix("vpngate.").partition(".")[0]


def _event(record: logging.LogRecord) -> str:
    told = event_of(record)
    return _OF_A_LIBRARY if told is None else told.name


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    """What is named or counted; text in it may come from outside."""
    told = event_of(record)
    fields = {} if told is None else told.fields
    return {name: _fit(value) for name, value in fields.items()}


def _fit(value: object) -> object:
    return (
        value if value is None or isinstance(value, (bool, int)) else plain(str(value))
    )


def _message(record: logging.LogRecord) -> str:
    """What is said, on one line, whoever wrote it."""
    return _one_line(_said(record))


def _said(record: logging.LogRecord) -> str:
    text, error = record.getMessage(), record.exc_info and record.exc_info[1]
    if not error:
        return text
    # All frames are for those who look for them. What the error says is for nobody: it
    # may quote a flow.
    everything = logging.getLogger("vpngate").isEnabledFor(logging.DEBUG)
    return f"{text}: {_frames(error) if everything else place_of(error)}"


def _frames(error: BaseException) -> str:
    """Of an error, those that led to it and those in it: their kinds and frames."""
    told: dict[int, str] = {}  # by identity: they may go round in a circle
    waiting: list[BaseException | None] = [error]
    while waiting:
        each = waiting.pop(0)
        if each is None or id(each) in told:
            continue
        frames = "".join(traceback.format_tb(each.__traceback__))
        told[id(each)] = f"Traceback of {type(each).__name__}\n{frames}"
        waiting += [each.__cause__, each.__context__]
        if isinstance(each, BaseExceptionGroup):
            waiting += each.exceptions
    return "".join(told.values())


def _one_line(text: str) -> str:
    lines = [line.strip() for line in text.split("\n")]
    return plain(" | ".join(filter(None, lines)), _LONGEST)


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
