# SPDX-License-Identifier: GPL-2.0-or-later
"""`vpngate classify`: what vpngate would do with a capture.

Knows how captures are worked through one after the other, and whom the verdicts have
to spare; does not recognise, pair or judge anything itself: that is the same code that
runs on live traffic. The registry counts as it stands now, however old a capture is.
"""

import argparse
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vpngate.capture.files.search import captures
from vpngate.capture.replay import Replay
from vpngate.capture.summaries import Replayed
from vpngate.cli import complain, options
from vpngate.cli.printing import explanation, flow_rows
from vpngate.cli.printing.letters import Letters
from vpngate.cli.printing.progress import Progress
from vpngate.cli.standing import Nobody, Registered, configured
from vpngate.errors import UnreadableInput
from vpngate.plaintext import plain
from vpngate.policy import Standing, decide, is_sufficient
from vpngate.tunnels import all_tunnels

if TYPE_CHECKING:
    from vpngate.cli import Subparsers

Show = Callable[[Mapping[str, Any]], None]


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
    whose = parser.add_mutually_exclusive_group()
    whose.add_argument(
        "--registry", metavar="FILE", help="who is registered (default: nobody)"
    )
    whose.add_argument(
        "--config",
        metavar="FILE",
        help="a configuration: its registry, [protect] and [tunnels]",
    )
    parser.add_argument(
        "--explain",
        action="store_true",
        help="the messages that are the evidence, field by field, and what was lacking",
    )
    parser.add_argument(
        "--no-addresses",
        action="store_true",
        help="letters instead of addresses, and no byte that could hold one",
    )
    options.add_format(parser)


def run(args: argparse.Namespace) -> int:
    """Print each flow with evidence; 2 if a capture could not be read to its end."""
    judge = _judge(args, time.time())
    work = _Work(args, judge)
    with _interrupted_at_once():
        for given in args.captures:
            work.do(given)
    work.say_what_is_missing()
    return work.status


class _Judge:
    """What the flows are judged by: whom to spare, and how much evidence is enough."""

    def __init__(
        self, standing: Standing, replay: Replay, now: float, *, one_way: bool = False
    ) -> None:
        self.replay = replay
        self._standing = standing
        self._now = now
        self._one_way = one_way

    def answer(
        self, name: str, flow: Replayed, letters: Letters | None
    ) -> dict[str, Any]:
        """A flow as it is printed."""
        sighting, account = flow
        sufficient = is_sufficient(sighting, one_way=self._one_way)
        ends = (sighting.initiator, sighting.responder)
        decision = decide(sufficient, ends, self._standing, self._now)
        told = flow_rows.answer(name, sighting, decision, letters)
        if account is not None:
            blind = letters is not None
            told["explanation"] = explanation.explanation(
                account, sighting, blind=blind
            )
        return told


def _judge(args: argparse.Namespace, now: float) -> _Judge:
    if args.config is None:
        standing = Registered(args.registry, now) if args.registry else Nobody()
        return _Judge(standing, Replay(all_tunnels(), explain=args.explain), now)
    snapshot = configured(args.config, now)
    one_way = snapshot.one_way
    replay = Replay(snapshot.tunnels, one_way=one_way, explain=args.explain)
    return _Judge(snapshot, replay, now, one_way=one_way)


class _Work:
    """The captures, one after the other; what is wrong with one is said at once."""

    def __init__(self, args: argparse.Namespace, judge: _Judge) -> None:
        self._judge = judge
        self._replay = judge.replay
        self._lettered = args.no_addresses
        table = flow_rows.FlowLines()
        self._show: Show = (
            flow_rows.print_line if args.format == "json" else table.print_row
        )
        self._progress = Progress()
        self.status = 0

    def do(self, given: str) -> None:
        """Replay what one argument stands for."""
        with self._complaints():
            for name, path in captures(given):
                with self._complaints():
                    self._one(name, path)

    def say_what_is_missing(self) -> None:
        """A line for each thing that kept the answers from being whole."""
        if self._replay.unread:
            complain(
                "scapy cannot be loaded: nothing is confirmed without it; "
                "install what vpngate depends on"
            )
        if self._replay.crowded:
            complain(
                "warning: more flows than are kept at the same time; those idle "
                "longest were told first, and may be told again"
            )

    def _one(self, name: str, path: Path) -> None:
        capture = self._replay.open(path)
        letters = Letters() if self._lettered else None
        with self._progress.watch(plain(name), lambda: capture.fraction):
            flows = self._replay.flows(capture)
            # As a rule the first one comes when the capture has been read.
            first = next(flows, None)
        if first is not None:
            self._show(self._judge.answer(name, first, letters))
            for flow in flows:
                self._show(self._judge.answer(name, flow, letters))
            sys.stdout.flush()

    @contextmanager
    def _complaints(self) -> Iterator[None]:
        try:
            yield
        except UnreadableInput as error:
            sys.stdout.flush()
            # One problem, so that a line break in it is one of a name's.
            text = plain(str(error))
            complain(Letters().without_addresses(text) if self._lettered else text)
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
