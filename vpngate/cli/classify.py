# SPDX-License-Identifier: GPL-2.0-or-later
"""`vpngate classify`: what vpngate would do with a capture.

Knows how captures are worked through one after the other, and how flows are printed
as they come; does not recognise, pair or judge anything itself: that is the same
code that runs on live traffic. The registry counts as it stands now, however old a
capture is.
"""

import argparse
import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vpngate.capture.replay import Replay
from vpngate.capture.search import captures
from vpngate.cli import complain, options
from vpngate.cli.progress import Progress
from vpngate.errors import UnreadableInput
from vpngate.packets import Endpoint, format_address, parse_address
from vpngate.policy import Standing, decide
from vpngate.recognition import Evidence, Sighting
from vpngate.tunnels import all_tunnels

if TYPE_CHECKING:
    from vpngate.cli import Subparsers
    from vpngate.registry import Registration, When

_COLUMNS = {  # with the width that is enough most times
    "TUNNEL": 9,
    "TRANSPORT": 9,
    "INITIATOR": 21,
    "RESPONDER": 21,
    "EVIDENCE": 10,
    "HANDSHAKES": 10,
    "FIRST SEEN (UTC)": 23,
    "VERDICT": 8,
    "REGISTRATION": 12,
    "CAPTURE": 0,
}


def add_parser(commands: "Subparsers") -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "classify", help="what vpngate would do with a capture"
    )
    parser.add_argument(
        "captures",
        metavar="CAPTURE",
        nargs="+",
        help="pcap or pcapng, gzip or not; a folder is searched",
    )
    parser.add_argument(
        "--registry", metavar="FILE", help="who is registered (default: nobody)"
    )
    options.add_format(parser)


def run(args: argparse.Namespace) -> int:
    """Print each flow with evidence; 2 if a capture could not be read to its end."""
    now = time.time()
    standing = _Registered(args.registry, now) if args.registry else _Nobody()
    printer = _print_line if args.format == "json" else _Table().print_row
    work = _Work(lambda name, flow: printer(_answer(name, flow, standing, now)))
    with _interrupted_at_once():
        for given in args.captures:
            work.do(given)
    work.say_what_is_missing()
    return work.status


class _Work:
    """The captures, one after the other; what is wrong with one is said at once."""

    def __init__(self, show: Callable[[str, Sighting], None]) -> None:
        self._replay = Replay(all_tunnels())
        self._show = show
        self._progress = Progress()
        self.status = 0

    def do(self, given: str) -> None:
        """Replay what one argument stands for."""
        with self._complaints():
            for name, path in captures(given):
                with self._complaints():
                    self._one(name, path)

    def say_what_is_missing(self) -> None:
        """A line, if flows stayed unconfirmed because nothing could read them twice."""
        if self._replay.unread:
            complain(
                "scapy cannot be loaded: nothing is confirmed without it; "
                "install what vpngate depends on"
            )

    def _one(self, name: str, path: Path) -> None:
        capture = self._replay.open(path)
        with self._progress.watch(name, lambda: capture.fraction):
            flows = self._replay.flows(capture)
            # The first one comes when the capture has been read.
            first = next(flows, None)
        if first is not None:
            self._show(name, first)
            for flow in flows:
                self._show(name, flow)
            sys.stdout.flush()

    @contextmanager
    def _complaints(self) -> Iterator[None]:
        try:
            yield
        except UnreadableInput as error:
            sys.stdout.flush()
            complain(*error.lines)
            self.status = error.exit_status


@contextmanager
def _interrupted_at_once() -> Iterator[None]:
    """Ctrl-C ends the process where it stands, also inside libpcap."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class _Nobody:
    """No registry: nobody is registered, nobody protected."""

    def lookup(self, address: bytes, now: "When") -> None:  # noqa: ARG002
        return None

    def protects(self, address: bytes) -> bool:  # noqa: ARG002
        return False


class _Registered:
    """The registrations of a file; its bad rows are told on stderr."""

    def __init__(self, path: str, now: float) -> None:
        # Reading a registry takes libraries that most calls can do without.
        from vpngate.cli.inputs import insist, read_registry

        self._registry = insist(read_registry(path, now).registry, path, now)

    def lookup(self, address: bytes, now: "When") -> "Registration | None":
        return self._registry.lookup(address, now)

    def protects(self, _address: bytes) -> bool:
        return False


def _answer(
    name: str, flow: Sighting, standing: Standing, now: float
) -> dict[str, Any]:
    """A flow as JSON has it."""
    confirmed = flow.evidence is Evidence.CONFIRMED
    decision = decide(confirmed, (flow.initiator, flow.responder), standing, now)
    return {
        "capture": name,
        "tunnel": flow.tunnel.name,
        "transport": flow.flow.transport.label,
        "initiator": _end(flow.initiator),
        "responder": _end(flow.responder),
        "evidence": flow.evidence.label,
        "first_seen": round(flow.first_seen, 6),
        "handshakes": flow.handshakes,
        "verdict": decision.verdict.value,
        "registration": decision.registration and decision.registration.id,
    }


def _end(endpoint: Endpoint) -> dict[str, Any]:
    return {"address": format_address(endpoint.address), "port": endpoint.port}


def _print_line(answer: Mapping[str, Any]) -> None:
    print(json.dumps(answer))


class _Table:
    """Rows as they come: the columns cannot wait for the widest cell of all."""

    def __init__(self) -> None:
        self._widths = dict(_COLUMNS)
        self._headed = False

    def print_row(self, answer: Mapping[str, Any]) -> None:
        if not self._headed:
            self._print(list(_COLUMNS))
            self._headed = True
        self._print(
            [
                answer["tunnel"],
                answer["transport"],
                _spell(answer["initiator"]),
                _spell(answer["responder"]),
                answer["evidence"],
                str(answer["handshakes"]),
                _moment(answer["first_seen"]),
                answer["verdict"],
                answer["registration"] or "-",
                _printable(answer["capture"]),
            ]
        )

    def _print(self, cells: Sequence[str]) -> None:
        for column, cell in zip(_COLUMNS, cells, strict=True):
            self._widths[column] = max(self._widths[column], len(cell))
        widths = self._widths.values()
        padded = (f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True))
        print("  ".join(padded).rstrip())


def _spell(end: Mapping[str, Any]) -> str:
    return str(Endpoint(parse_address(end["address"]), end["port"]))


def _moment(seconds: float) -> str:
    """Date and time in UTC; the seconds themselves where no calendar has them."""
    try:
        seen = datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return f"{seconds:.0f}"
    return f"{seen:%Y-%m-%d %H:%M:%S}.{seen.microsecond // 1000:03}"


def _printable(name: str) -> str:
    """A file's name without what a terminal would obey."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in name)
