# SPDX-License-Identifier: GPL-2.0-or-later
"""Cycles are collected while they are young; what lives long is not gone through."""

import gc
import weakref
from collections.abc import Iterator

import pytest

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
