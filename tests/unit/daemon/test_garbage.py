# SPDX-License-Identifier: GPL-2.0-or-later
"""Cycles are collected while they are young; what lives long is not gone through."""

import gc
import subprocess
import sys
import weakref
from collections.abc import Iterator

import pytest

from tests.house import ROOT
from vpngate.daemon import garbage


class Node:
    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    threshold = gc.get_threshold()
    yield
    gc.set_threshold(*threshold)
    gc.unfreeze()


def test_a_young_cycle_goes() -> None:
    garbage.begin()
    gone = weakref.ref(Node())
    garbage.collect_young()
    assert gone() is None


def test_what_lives_long_is_not_gone_through_again() -> None:
    garbage.begin()
    kept = [Node() for _ in range(1000)]
    garbage.collect_young()
    assert len(gc.get_objects()) < len(kept)  # of all generations that are gone through
    assert gc.get_freeze_count() > len(kept)


def test_no_full_collection_comes_by_itself() -> None:
    garbage.begin()
    full = gc.get_stats()[2]["collections"]
    kept = [[number] for number in range(300_000)]
    assert gc.get_stats()[2]["collections"] == full
    del kept


def test_what_was_freed_goes_back_to_the_machine() -> None:
    """In a process of its own: 100 MB in small pieces, of which every tenth stays."""
    program = (
        "from vpngate.daemon.garbage import give_back\n"
        "from bench.footprint import resident\n"
        "there = [bytes(1000) for _ in range(100_000)]\n"
        "there = there[::10]\n"
        "full = resident(); give_back(); print(full - resident())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert float(done.stdout) > 0
