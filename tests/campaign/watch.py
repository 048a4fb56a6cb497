# SPDX-License-Identifier: GPL-2.0-or-later
"""Four flows that go on whatever happens, and a control beside each.

    client ── lan0 ┐           ┌ wan0 ── member     registered
    control ─ ctl0 ┴─ gateway ─┴ wan1 ── stranger   not

Knows how they are started, and how to count between two marks; does not know what
happens meanwhile, nor what that may cost. vpngate has hooks on lan0 and none on ctl0.
"""

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from tests.campaign.book import Book
from tests.campaign.counts import Counts, Kind, longest_silence
from tests.campaign.judge import Pair
from tests.campaign.traffic import NEEDLESS_BY, End
from tests.lab.daemon import PYTHON
from tests.lab.namespaces import Namespace
from tests.lab.topology import Place

PACE = 125.0  # datagrams a second and direction: twice what the slow class passes
SIZE = 1000  # bytes of payload
PORT = 21_000  # of both ends of the first flow
_QUIET = 1.5  # seconds without an arrival: what is missing then does not come
_LOOK = 0.02  # seconds
# What a stream has under way while nothing is wrong: delayed acknowledgements.
_IN_HAND = 20 * SIZE  # bytes
_CALM = 20.0  # seconds: a timer doubles a few times
_PROGRAM = (*PYTHON, "-S", "-m", "tests.campaign.traffic")


class Way(NamedTuple):
    """A flow in one direction."""

    kind: Kind
    control: bool
    sender: Place
    receiver: Place

    @property
    def stream(self) -> bool:
        return self.kind is Kind.STREAM


class _Read(NamedTuple):
    """What a book said."""

    sent: int
    came: int
    resent: int
    broken: int


@dataclass(frozen=True)
class Mark:
    """A moment of time.monotonic(), and what each flow had come to."""

    when: float
    read: tuple[_Read, ...]


def _read(book: Book) -> _Read:
    return _Read(book.sent, book.came, book.resent, book.broken)


class Watch:
    """The flows under way."""

    def __init__(self, ways: list[Way], books: list[Book]) -> None:
        self._ways = ways
        self._books = books

    def port(self, kind: Kind) -> int:
        """The port of both ends of the first flow of a kind."""
        return PORT + next(n for n, way in enumerate(self._ways) if way.kind is kind)

    def calm(self) -> None:
        """Wait until no stream makes up any more for what it lost, or could not send.

        What it sends again would be held against whatever comes next; so would what is
        not told yet.
        """
        self._until_made_up()
        time.sleep(NEEDLESS_BY + _LOOK)

    def _until_made_up(self) -> None:
        end = time.monotonic() + _CALM
        streams = [
            book
            for way, book in zip(self._ways, self._books, strict=True)
            if way.stream
        ]
        while any(book.under_way > _IN_HAND for book in streams):
            if time.monotonic() > end:
                return
            time.sleep(_LOOK)

    def mark(self) -> Mark:
        return Mark(time.monotonic(), tuple(map(_read, self._books)))

    def counted(self, begin: Mark, end: Mark) -> Mapping[Kind, Pair]:
        """What became of each flow between two marks, once nothing more can come."""
        self._settle(begin, end)
        found: dict[tuple[Kind, bool], Counts] = {}
        for number, way in enumerate(self._ways):
            counts = self._counts(number, begin, end)
            other = found.get((way.kind, way.control))
            key = (way.kind, way.control)
            found[key] = counts.and_also(other) if other else counts
        # An unregistered tunnel's control is the other's: a tunnel past all hooks.
        found[Kind.UNREGISTERED, True] = found[Kind.REGISTERED, True]
        return {kind: Pair(found[kind, False], found[kind, True]) for kind in Kind}

    def _settle(self, begin: Mark, end: Mark) -> None:
        """Wait for what is on its way: it has come, or nothing comes any more."""
        since, before = time.monotonic(), -1
        while True:
            missing = sum(
                self._missing(number, begin, end)
                for number, way in enumerate(self._ways)
                if way.kind is not Kind.UNREGISTERED and not way.stream
            )
            now = time.monotonic()
            if missing != before:
                since, before = now, missing
            if not missing or now - since > _QUIET:
                return
            time.sleep(_LOOK)

    def _missing(self, number: int, begin: Mark, end: Mark) -> int:
        first, last = begin.read[number].sent, end.read[number].sent
        return self._books[number].missing(first, last)

    def _counts(self, number: int, begin: Mark, end: Mark) -> Counts:
        one, other = begin.read[number], end.read[number]
        arrivals = self._books[number].arrivals(begin.when, end.when)
        if self._ways[number].stream:
            lost = other.resent - one.resent
        else:
            lost = self._missing(number, begin, end)
        return Counts(
            seconds=end.when - begin.when,
            sent=other.sent - one.sent,
            lost=lost,
            came=sum(count for _, count in arrivals),
            silence=longest_silence(
                [when for when, _ in arrivals], begin.when, end.when
            ),
            broken=other.broken - one.broken,
        )


def _ends(way: Way, number: int, book: Path) -> tuple[End, End]:
    """Who sends and who receives."""
    port = PORT + number
    sender, receiver = (way.sender.address, port), (way.receiver.address, port)
    sends = End(str(book), True, way.stream, sender, receiver, PACE, SIZE)
    return sends, End(str(book), False, way.stream, receiver, sender, PACE, SIZE)


@contextlib.contextmanager
def watching(
    ways: list[Way],
    folder: Path,
    wait_until: Callable[[Callable[[], bool], str], None],
) -> Iterator[Watch]:
    """The flows, all of them under way when the block is entered."""
    with contextlib.ExitStack() as stack:
        books, ends = [], dict[Namespace, list[End]]()
        for number, way in enumerate(ways):
            path = folder / f"flow-{number}.book"
            books.append(stack.enter_context(Book(path, new=True)))
            for place, end in zip(
                (way.sender, way.receiver), _ends(way, number, path), strict=True
            ):
                ends.setdefault(place.namespace, []).append(end)
        for namespace, some in ends.items():
            file = folder / f"flows-{namespace.name}.json"
            file.write_text(json.dumps([asdict(end) for end in some]))
            running = stack.enter_context(namespace.running(*_PROGRAM, str(file)))
            running.expect("running")
        for number, book in enumerate(books):
            what = f"the first of flow {number}, {ways[number].kind}"
            wait_until(lambda book=book: book.came > 0, what)  # type: ignore[misc]
        yield Watch(ways, books)
