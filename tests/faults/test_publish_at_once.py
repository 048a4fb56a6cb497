# SPDX-License-Identifier: GPL-2.0-or-later
"""Several publishers at once, seen by readers that never stop looking."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.faults.asking import ask
from tests.faults.publishers import Portal, folder_in_memory, serial_of
from vpngate.errors import VpngateError
from vpngate.feed import Feed, FeedSettings, Fetched

ROUNDS = 20
AT_ONCE = 2
PATIENCE = 60.0  # seconds


@pytest.fixture
def portal() -> Iterator[Portal]:
    with folder_in_memory() as folder:
        yield Portal(Path(folder))


@dataclass
class Reader:
    """Reads both names again and again, as a gateway does."""

    portal: Portal
    looks: int = 0
    gaps: int = 0
    serials: list[int] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @contextmanager
    def looking(self) -> Iterator[None]:
        stop = threading.Event()
        thread = threading.Thread(target=self._run, args=(stop,))
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def _run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            end = time.monotonic() + PATIENCE
            while not self._look():
                self.gaps += 1
                if time.monotonic() > end:
                    self.wrong.append("what is published never fits")
                    return

    def _look(self) -> bool:
        self.looks += 1
        data, signed = self.portal.look()
        if data is None:
            self.wrong.append("nothing is published")
            return True
        if not self.portal.fits(data, signed):
            return False  # the pair changed between the two looks
        serial = serial_of(data)
        if self.serials and serial < self.serials[-1]:
            self.wrong.append(f"serial {serial} after {self.serials[-1]}")
        if not self.serials or serial != self.serials[-1]:
            self.serials.append(serial)
        return True


def test_two_at_once_each_have_a_serial_of_their_own(portal: Portal) -> None:
    assert portal.publish() == 0
    reader = Reader(portal)
    with reader.looking():
        for number in range(1, ROUNDS + 1):
            children = [portal.child() for _ in range(AT_ONCE)]
            for child in children:
                child.go()
            assert [child.end() for child in children] == [0] * AT_ONCE
            assert portal.serial() == 1 + number * AT_ONCE
    assert reader.wrong == []
    assert reader.serials[-1] <= 1 + ROUNDS * AT_ONCE
    assert len(reader.serials) > ROUNDS / 2
    # What does not fit is a look that fell on the change, and the next one fits.
    assert reader.gaps <= ROUNDS * AT_ONCE


def test_a_gateway_always_has_an_answer_meanwhile(portal: Portal) -> None:
    """The feed itself, with its three attempts: it never has to go without."""
    assert portal.publish() == 0
    settings = FeedSettings.parse([str(portal.path)], portal.signer.public)
    faults: list[str] = []
    serials: list[int] = []
    stop = threading.Event()

    def fetch() -> None:
        while not stop.is_set():
            try:
                answer = ask(Feed(settings))
            except VpngateError as error:
                faults.append(str(error))
                continue
            assert isinstance(answer, Fetched)
            serials.append(serial_of(answer.data))

    thread = threading.Thread(target=fetch)
    thread.start()
    try:
        for _ in range(ROUNDS // 2):
            assert portal.publish() == 0
    finally:
        stop.set()
        thread.join()
    assert faults == []
    assert serials == sorted(serials)
    assert serials[-1] > 1
