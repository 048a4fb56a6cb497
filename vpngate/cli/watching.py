# SPDX-License-Identifier: GPL-2.0-or-later
"""`vpngate status --watch`: the state again and again, until Ctrl-C.

Knows when to ask again, and what is told while no daemon answers or another one has
taken its place; `printing/overview.py` knows how a state is drawn on a terminal.
"""

import sys
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple, NoReturn

from vpngate.cli import options
from vpngate.cli.printing import screen
from vpngate.cli.printing.named_rows import rows
from vpngate.cli.printing.overview import overview
from vpngate.daemon.outside.client import request
from vpngate.errors import DaemonUnreachable
from vpngate.plaintext import plain


class Seen(NamedTuple):
    """What one question led to.

    state  of the daemon, as it was last, None if none has answered yet
    note   what is to be told beside it: that none answers, or that it is another one
    """

    at: float
    state: Mapping[str, Any] | None
    note: str = ""

    @property
    def time(self) -> str:
        """When it was asked, in UTC."""
        return f"{datetime.fromtimestamp(self.at, UTC):%Y-%m-%d %H:%M:%S}Z"


def watch(socket: str, interval: float, *, as_json: bool) -> NoReturn:
    """Show the state every `interval` seconds; KeyboardInterrupt ends it.

    DaemonUnreachable if none answers when it begins: that is a wrong socket, as a rule.
    """
    seen = _watched(socket, interval)
    if as_json:
        for each in seen:
            told = {"at": each.time, "note": each.note or None, "status": each.state}
            options.show("json", told, list)
            sys.stdout.flush()
    elif screen.is_screen():
        screen.redraw(overview(each.state, each.note, each.time) for each in seen)
    else:
        for each in seen:
            _print(each)
    raise AssertionError("it goes on for ever")  # pragma: no cover


def _watched(socket: str, interval: float) -> Iterator[Seen]:
    state: Mapping[str, Any] = request(socket, "status")
    yield Seen(time.time(), state)
    silent_since, note = 0.0, ""
    while True:
        time.sleep(interval)
        now = time.time()
        try:
            latest: Mapping[str, Any] = request(socket, "status")
        except DaemonUnreachable as error:
            silent_since = silent_since or now
            since = Seen(silent_since, None).time
            yield Seen(now, None, f"{error.lines[0]} (since {since})")
            continue
        if latest.get("started") != state.get("started"):
            note = f"the daemon was started again at {latest.get('started')}"
        silent_since, state = 0.0, latest
        yield Seen(now, state, note)


def _print(seen: Seen) -> None:
    print(f"at {seen.time}")
    if seen.note:
        print(plain(seen.note))
    for line in rows(seen.state or {}):
        print(plain(line, screen.LONGEST))
    print(flush=True)
