# SPDX-License-Identifier: GPL-2.0-or-later
"""`vpngate classify`: what vpngate would do with a capture.

Knows how captures are worked through, several side by side, and whom the verdicts have
to spare; does not recognise, pair or judge anything itself: that is the same code that
runs on live traffic. The registry counts as it stands now, however old a capture is.
"""

import argparse
import json
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from vpngate.capture.files.file import CaptureFile
from vpngate.capture.files.search import captures
from vpngate.capture.replay import Replay
from vpngate.capture.summaries import Replayed
from vpngate.cli import complain, options
from vpngate.cli.printing import flow_rows
from vpngate.cli.printing.letters import Letters
from vpngate.cli.printing.progress import Progress
from vpngate.cli.standing import Nobody, Registered, configured
from vpngate.errors import UnreadableInput, UnwritableOutput
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
    parser.add_argument(
        "--jobs",
        metavar="N",
        type=options.positive,
        help="captures that are read side by side (default: one a core)",
    )
    options.add_format(parser)


def run(args: argparse.Namespace) -> int:
    """Print each flow with evidence; 2 if a capture could not be read to its end."""
    judge = _judge(args, time.time())
    work = _Work(args, judge)
    jobs = args.jobs or len(os.sched_getaffinity(0))
    found = list(_found(args.captures)) if jobs > 1 else []
    if len(found) > 1 and _are_files(found):
        work.side_by_side(found, jobs)
    else:
        with _interrupted_at_once():
            work.one_by_one(args.captures)
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
            from vpngate.cli.printing.explanation import explanation

            blind = letters is not None
            told["explanation"] = explanation(account, sighting, blind=blind)
        return told


def _judge(args: argparse.Namespace, now: float) -> _Judge:
    if args.config is None:
        standing = Registered(args.registry, now) if args.registry else Nobody()
        return _Judge(standing, Replay(all_tunnels(), explain=args.explain), now)
    snapshot = configured(args.config, now)
    one_way = snapshot.one_way
    replay = Replay(snapshot.tunnels, one_way=one_way, explain=args.explain)
    return _Judge(snapshot, replay, now, one_way=one_way)


class _Capture(NamedTuple):
    name: str
    path: Path


_Found = _Capture | UnreadableInput


class _Told(NamedTuple):
    """How a capture that another process replayed ended; its flows are in a file."""

    failure: UnreadableInput | None
    unread: bool
    crowded: bool


class _Work:
    """The captures, told in their order, and with each what is wrong with it."""

    def __init__(self, args: argparse.Namespace, judge: _Judge) -> None:
        self._judge = judge
        self._replay = judge.replay
        self._lettered = args.no_addresses
        table = flow_rows.FlowLines()
        self._as_json = args.format == "json"
        self._show: Show = flow_rows.print_line if self._as_json else table.print_row
        self._progress = Progress()
        self._unread = self._crowded = False
        self.status = 0

    def one_by_one(self, given: Iterable[str]) -> None:
        """Replay what the arguments stand for."""
        for each in given:
            with self._complaints():
                for name, path in captures(each):
                    with self._complaints():
                        self._one(name, path)
        self._unread, self._crowded = self._replay.unread, self._replay.crowded

    def side_by_side(self, found: Sequence[_Found], jobs: int) -> None:
        """Replay captures in so many processes; what they say comes in their order."""
        from vpngate.cli.side_by_side import in_order

        spools: deque[TextIO] = deque()  # without a name: nothing of them ever stays

        def errands() -> Iterator[tuple[int, str]]:
            for number in range(len(found)):
                spool = TemporaryFile("w+")  # noqa: SIM115 - closed when it is told
                spools.append(spool)
                yield number, f"/proc/{os.getpid()}/fd/{spool.fileno()}"

        def replayed(errand: tuple[int, str]) -> _Told:
            number, spool = errand
            return self._spooled(found[number], Path(spool))

        all_told = in_order(replayed, errands(), min(jobs, len(found)))
        with closing(all_told):
            for each in found:
                name = each.name if isinstance(each, _Capture) else ""
                with self._progress.watch(plain(name), lambda: None):
                    told = next(all_told)
                with self._complaints(), spools.popleft() as spool:
                    self._tell(spool, told)

    def say_what_is_missing(self) -> None:
        """A line for each thing that kept the answers from being whole."""
        if self._unread:
            complain(
                "scapy cannot be loaded: nothing is confirmed without it; "
                "install what vpngate depends on"
            )
        if self._crowded:
            complain(
                "warning: more flows than are kept at the same time; those idle "
                "longest were told first, and may be told again"
            )

    def _one(self, name: str, path: Path) -> None:
        capture = self._replay.open(path)
        answers = self._answers(name, capture)
        with self._progress.watch(plain(name), lambda: capture.fraction):
            # As a rule the first one comes when the capture has been read.
            first = next(answers, None)
        if first is not None:
            self._show(first)
            for answer in answers:
                self._show(answer)
            sys.stdout.flush()

    def _answers(self, name: str, capture: CaptureFile) -> Iterator[dict[str, Any]]:
        letters = Letters() if self._lettered else None
        for flow in self._replay.flows(capture):
            yield self._judge.answer(name, flow, letters)

    def _spooled(self, found: _Found, spool: Path) -> _Told:
        """Write a capture's flows into a file, a line each."""
        failure = None
        if isinstance(found, UnreadableInput):
            failure = found
        else:
            try:
                with spool.open("w") as out:
                    for answer in self._answers(
                        found.name, self._replay.open(found.path)
                    ):
                        print(json.dumps(answer), file=out)
            except UnreadableInput as error:
                failure = error.alone()
            except OSError as error:
                raise UnwritableOutput(
                    f"what was found cannot be kept: {error.strerror}; have TMPDIR "
                    "name a folder with room, or try --jobs 1"
                ) from None
        return _Told(failure, self._replay.unread, self._replay.crowded)

    def _tell(self, spool: TextIO, told: _Told) -> None:
        """Print what `_spooled` wrote; raises what it met."""
        self._unread = self._unread or told.unread
        self._crowded = self._crowded or told.crowded
        for line in spool:
            if self._as_json:
                sys.stdout.write(line)
            else:
                self._show(json.loads(line))
        sys.stdout.flush()
        if told.failure is not None:
            raise told.failure

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


def _found(given: Iterable[str]) -> Iterator[_Found]:
    """The captures that arguments stand for, and what is wrong with an argument."""
    for each in given:
        try:
            yield from (_Capture(*capture) for capture in captures(each))
        except UnreadableInput as error:
            yield error.alone()


def _are_files(found: Sequence[_Found]) -> bool:
    """Whether all may be read in any order: whoever fills a pipe waits for its turn."""
    paths = [capture.path for capture in found if isinstance(capture, _Capture)]
    return all(path.is_file() or not path.exists() for path in paths)


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
