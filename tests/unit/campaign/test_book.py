# SPDX-License-Identifier: GPL-2.0-or-later
"""What both ends of a flow write down, over loopback, by the program that they are."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.campaign.book import SLOT, Book
from tests.campaign.traffic import NEEDLESS_BY, End, Resent
from tests.house import ROOT
from tests.lab.namespaces import wait_until

_HERE = "127.0.0.1"


def test_what_is_missing_is_counted_between_two_numbers(tmp_path: Path) -> None:
    with Book(tmp_path / "book", new=True) as book:
        for number in (0, 1, 2, 4, 7, 4):
            book.note_number(number)
        assert book.came == 5
        assert book.missing(0, 3) == 0
        assert book.missing(0, 8) == 3
        assert book.missing(5, 7) == 2


def test_two_who_have_it_open_read_the_same(tmp_path: Path) -> None:
    begin = time.monotonic()
    with Book(tmp_path / "book", new=True) as one, Book(tmp_path / "book") as other:
        one.note_sent(3, refused=1)
        other.note_number(0)
        other.note_broken()
        assert (other.sent, other.refused, one.came, one.broken) == (3, 1, 1, 1)
        ((when, count),) = one.arrivals(begin, time.monotonic() + 2 * SLOT)
        assert count == 1
        assert begin - SLOT <= when <= time.monotonic() + SLOT


@contextmanager
def _running(folder: Path, *ends: End) -> Iterator[subprocess.Popen[bytes]]:
    file = folder / "ends.json"
    file.write_text(json.dumps([asdict(end) for end in ends]))
    program = [sys.executable, "-S", "-m", "tests.campaign.traffic", str(file)]
    with subprocess.Popen(program, cwd=ROOT, stdout=subprocess.DEVNULL) as running:
        try:
            yield running
        finally:
            running.terminate()


@pytest.mark.parametrize("stream", [False, True], ids=["datagrams", "stream"])
def test_a_flow_writes_down_what_it_sent_and_what_came(
    tmp_path: Path, *, stream: bool
) -> None:
    path = tmp_path / "book"
    one, other = (_HERE, 31_117), (_HERE, 31_118)
    sender = End(str(path), True, stream, one, other, 200.0, 500)
    receiver = End(str(path), False, stream, other, one, 200.0, 500)
    with Book(path, new=True) as book, _running(tmp_path, sender, receiver):
        wait_until(lambda: book.came >= 100, "a hundred of them")
        sent = book.sent
        wait_until(lambda: book.came >= sent, "all that was sent")
        assert book.broken == 0
        assert book.resent == 0
        if not stream:
            assert book.missing(0, sent) == 0


def test_what_was_sent_again_for_nothing_is_never_told() -> None:
    """A probe at 2.0, of which the other end says at 2.1 that it had that already."""
    resent, told = Resent(), set[int]()
    for hundredth in range(100, 400):
        when = hundredth / 100
        told.add(resent.count(1 if 2.0 <= when < 2.1 else 0, when))
    assert told == {0}


def test_what_was_lost_is_told_a_little_later() -> None:
    resent = Resent()
    assert resent.count(0, 1.0) == 0
    assert resent.count(1, 1.1) == 0
    assert resent.count(1, 1.1 + 1.1 * NEEDLESS_BY) == 1
    assert resent.latest == 1


def test_a_stream_tells_what_is_under_way(tmp_path: Path) -> None:
    path = tmp_path / "book"
    one, other = (_HERE, 31_119), (_HERE, 31_120)
    sender = End(str(path), True, True, one, other, 200.0, 500)
    with Book(path, new=True) as book, _running(tmp_path, sender):
        wait_until(lambda: book.under_way > 1 << 30, "nobody at its other end")
        with socket.create_connection(one) as silent:
            wait_until(lambda: 0 < book.under_way < 1 << 30, "some of it")
            silent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            wait_until(lambda: book.under_way > 20_000, "more, since nobody reads")
