# SPDX-License-Identifier: GPL-2.0-or-later
"""Who is asked first, and that only an answer is an objection.

Over the real thing this is tested in `tests/netns/test_bpf_clsact.py`; here answers are
given, so that many interfaces take no time.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import pytest

from tests.rulesets import RULESET
from vpngate.errors import KernelRefused, Problem
from vpngate.kernel.programmed import eligible
from vpngate.kernel.programmed.eligible import Eligible
from vpngate.kernel.programmed.programmed_table import ProgrammedTable
from vpngate.kernel.programmed.unfit import ETHERNET, NO_HEADER, Looked
from vpngate.kernel.wire.links import Device

NAMES = tuple(f"lan{number:03}" for number in range(100))


class Asked:
    """Says what it is told to say, and notes of whom it was asked."""

    def __init__(self, patched: pytest.MonkeyPatch) -> None:
        self.objections: dict[str, str] = {}
        self.unasked: set[str] = set()
        self.fails = False
        self.few: list[set[str]] = []
        self.there = {name: Device(at, 1500) for at, name in enumerate(NAMES, 2)}
        patched.setattr(eligible, "current_devices", lambda _names: dict(self.there))
        patched.setattr(eligible, "objections", self._answer)
        self.headers: dict[str, int | KernelRefused | None] = {}
        patched.setattr(eligible, "header_of", self._header)

    def _header(self, name: str) -> int | None:
        header = self.headers.get(name, ETHERNET)
        if isinstance(header, KernelRefused):
            raise header
        return header

    def _answer(
        self,
        _devices: Mapping[str, int],
        few: Collection[str],
        *,
        table: str,
        ours: Collection[int],
    ) -> Looked:
        assert (table, ours) == ("vpngate", [])
        self.few.append(set(few))
        if self.fails:
            raise KernelRefused("no answer")
        told = {n: why for n, why in self.objections.items() if n in few}
        return Looked(told, frozenset(self.unasked & set(few)))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    return Asked(monkeypatch)


RULES = replace(RULESET, interfaces=NAMES)


STAND = {name: at for at, name in enumerate(NAMES, 2)}  # at all of them
ALL_BUT_FIRST = {name: at for name, at in STAND.items() if name != NAMES[0]}
FIRST_THREE = {name: STAND[name] for name in NAMES[:3]}


def made() -> Eligible:
    table = SimpleNamespace(hooks={}, name="vpngate")
    return Eligible(cast("ProgrammedTable", table))


def test_all_have_their_turn_and_what_was_announced_is_first(asked: Asked) -> None:
    those = made()
    for _ in range(4):
        those.look(RULES, STAND)
    assert set.union(*asked.few) == set(NAMES)
    assert all(len(few) == 32 for few in asked.few)
    told = NAMES[1], NAMES[50], NAMES[99]
    for name in told:
        those.tell(name)
    those.look(RULES, STAND)
    assert asked.few[-1].issuperset(told)
    those.look(RULES, STAND)
    assert not asked.few[-1].issuperset(told)


def test_what_was_announced_is_asked_again_where_a_look_failed(asked: Asked) -> None:
    those = made()
    those.tell(NAMES[99])
    asked.fails = True
    those.look(RULES, STAND)
    with pytest.raises(KernelRefused):
        those.take_freed()
    asked.fails = False
    those.look(RULES, STAND)
    assert NAMES[99] in asked.few[-1]
    assert not those.take_freed()


def test_what_cannot_be_asked_stays_as_it_is(asked: Asked) -> None:
    those = made()
    asked.objections = {NAMES[0]: "has a chain"}
    those.choose(RULES, {})
    assert those.refused == {NAMES[0]: "has a chain"}
    asked.objections, asked.unasked = {}, set(NAMES)
    those.look(RULES, ALL_BUT_FIRST)
    assert not those.take_freed()
    assert those.refused == {NAMES[0]: "has a chain"}
    assert set(those.wanted()) == set(NAMES[1:])
    asked.unasked = set()
    those.look(RULES, ALL_BUT_FIRST)
    assert those.take_freed()
    assert not those.refused


def test_a_new_one_that_cannot_be_asked_is_not_had_yet(asked: Asked) -> None:
    those = made()
    asked.unasked = {NAMES[3]}
    those.choose(RULES, FIRST_THREE)
    assert set(those.refused) == {NAMES[3]}
    asked.unasked = set()
    those.look(RULES, FIRST_THREE)
    assert those.take_freed()


def test_what_was_announced_and_could_not_be_asked_is_asked_again(
    asked: Asked,
) -> None:
    those = made()
    those.tell(NAMES[40])
    asked.unasked = {NAMES[40]}
    for _ in range(2):
        those.look(RULES, STAND)
        assert NAMES[40] in asked.few[-1]
    asked.unasked = set()
    those.look(RULES, STAND)
    assert NAMES[40] in asked.few[-1]
    those.look(RULES, STAND)
    assert NAMES[40] not in asked.few[-1]


def test_a_header_that_cannot_be_asked_is_as_it_was(asked: Asked) -> None:
    """Until another interface has the name."""
    those = made()
    known, new, strange = NAMES[:3]
    those.look(RULES, {})
    asked.headers[known] = NO_HEADER
    assert those.headers((known,)) == {ETHERNET, NO_HEADER}
    refused = KernelRefused(Problem("interface", "Too many open files"))
    asked.headers |= {known: refused, new: refused, strange: None}
    assert those.headers((known, new, strange)) == {ETHERNET, NO_HEADER}
    assert those.header_of(known) == NO_HEADER
    assert those.refused.keys() == {new, strange}
    assert "asked again" in those.refused[new]
    assert "not known here" in those.refused[strange]
    asked.there[known] = Device(1000, 1500)
    those.look(RULES, {})
    with pytest.raises(KernelRefused):
        those.header_of(known)


def test_who_was_asked_for_a_change_is_not_asked_twice(asked: Asked) -> None:
    those = made()
    for _ in range(2):
        those.choose(RULES, {})
    assert asked.few == [set(NAMES)]
    asked.there[NAMES[0]] = Device(1000, 1500)  # another one of that name
    those.choose(RULES, ALL_BUT_FIRST)
    assert asked.few[-1] == {NAMES[0]}
    those.chosen()
    those.choose(RULES, {})
    assert asked.few[-1] == set(NAMES)


def test_another_interface_of_that_name_is_asked_though_programs_stand_there(
    asked: Asked,
) -> None:
    those = made()
    asked.there[NAMES[30]] = Device(1000, 1500)
    asked.objections = {NAMES[30]: "is of a kind that"}
    those.choose(RULES, STAND)
    assert asked.few == [{NAMES[30]}]
    assert those.refused.keys() == {NAMES[30]}


def test_of_many_that_were_told_of_few_are_asked_at_a_time(asked: Asked) -> None:
    those = made()
    for name in NAMES:
        those.tell(name)
    looks = 0
    while not looks or those.waiting:
        those.look(RULES, STAND)
        looks += 1
    assert looks == 4
    assert set.union(*asked.few) == set(NAMES)
    assert max(map(len, asked.few)) <= 64  # as many as have their turn, too
