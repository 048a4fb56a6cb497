# SPDX-License-Identifier: GPL-2.0-or-later
"""The lines that ask for verdicts come and go, in a kernel that is played.

It takes the very messages, keeps chains, rules and elements, and says no or nothing
when it is told to.
"""

import errno
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import count
from random import Random
from typing import cast

import pytest

from tests.rulesets import RULESET
from vpngate.errors import KernelRefused
from vpngate.kernel.detour.verdict_lines import QUIET, VerdictLines
from vpngate.kernel.table.owned import OwnedTable, Rules
from vpngate.kernel.wire import elements, nft
from vpngate.kernel.wire.attributes import APPEND, attribute, each_message, text
from vpngate.kernel.wire.channel import Change, Channel
from vpngate.kernel.wire.elements import Element
from vpngate.kernel.wire.failures import Failure, Rejected, Unanswered
from vpngate.packets import Direction, Family, Transport
from vpngate.ruleset import Ruleset, composition, names

OBSERVING = replace(RULESET, enforce=False)
LINES = composition.verdict_lines(RULESET)
_RULES = {
    one.enforce: Rules.of(composition.compose(one)) for one in (RULESET, OBSERVING)
}
_VERDICTS = names.verdict_map(Direction.UPLOAD, Family.IPV4, Transport.UDP)
VERDICT = elements.add("vpngate", _VERDICTS, [Element(bytes(12), 60.0, bytes(8))])
OUTCOMES = ("made", "refused", "lost", "lost, made", "unasked")
_ROUNDS = 1000
_SEED = 31

Rule = tuple[int, bytes]  # handle, user data


class Kernel:
    """A channel to it; `outcome` is of the next transaction that has any change."""

    def __init__(self) -> None:
        self.chains: dict[str, list[Rule]] = {}
        self.verdict = False
        self.outcome = "made"
        self.asked = 0  # questions that were answered
        self._handles = count(1)

    def commit(self, changes: Sequence[Change]) -> None:
        if not changes:
            return
        how, self.outcome = self.outcome, "made"
        if how == "refused":
            raise Rejected([Failure("elements", errno.ENOMEM, "")])
        if how != "lost":
            before = {name: list(rules) for name, rules in self.chains.items()}
            try:
                for kind, flags, _, body in each_message(
                    b"".join(one.data for one in changes)
                ):
                    self._take(kind & 0xFF, flags, nft.parts(bytes(body)))
            except KeyError:
                self.chains = before
                raise Rejected([Failure("rule", errno.ENOENT, "")]) from None
        if how.startswith("lost"):
            raise Unanswered("netlink socket: no answer")

    def _take(self, kind: int, flags: int, parts: dict[int, memoryview]) -> None:
        name = text(parts.get(nft.RULE_CHAIN, b""))
        if kind == nft.NEW_CHAIN:
            self.chains[text(parts[nft.CHAIN_NAME])] = []
        elif kind == nft.DELETE_CHAIN:
            assert not self.chains.pop(text(parts[nft.CHAIN_NAME]))
        elif kind == nft.NEW_RULE:
            rules = self.chains[name]
            place = len(rules) if flags & APPEND else 0
            user_data = bytes(parts[nft.RULE_USERDATA])
            rules.insert(place, (next(self._handles), user_data))
        elif kind == nft.DELETE_RULE:
            rules = self.chains[name]
            if nft.RULE_HANDLE not in parts:
                rules.clear()
                return
            handle = int.from_bytes(parts[nft.RULE_HANDLE], "big")
            rules.remove(next(one for one in rules if one[0] == handle))
        elif kind == nft.NEW_ELEMENT:
            self.verdict = True

    def dump(self, request: bytes) -> list[bytes]:
        if self.outcome == "unasked":
            self.outcome = "made"
            raise KernelRefused("netlink socket: cannot read a list")
        self.asked += 1
        ((kind, _, _, body),) = each_message(request)
        parts = nft.parts(bytes(body))
        return list(self._answers(kind & 0xFF, parts))

    def _answers(self, kind: int, parts: dict[int, memoryview]) -> Iterator[bytes]:
        header = nft.FAMILY_HEADER.pack(nft.NETDEV, 0, 0)
        table = header + attribute(nft.RULE_TABLE, b"vpngate\0")
        if kind == nft.GET_CHAIN:
            for name in self.chains:
                yield table + attribute(nft.CHAIN_NAME, name.encode() + b"\0")
        if kind == nft.GET_RULE:
            for handle, user_data in self.chains.get(text(parts[nft.RULE_CHAIN]), []):
                yield (
                    table
                    + attribute(nft.RULE_HANDLE, handle.to_bytes(8, "big"))
                    + attribute(nft.RULE_USERDATA, user_data)
                )

    def asking(self) -> dict[str, list[int]]:
        """At which places of its rules each chain of flows that is there asks."""
        return {
            name: [n for n, (_, data) in enumerate(rules) if data in _ASKING[name]]
            for name, rules in self.chains.items()
            if name in LINES
        }

    def others(self) -> dict[str, list[bytes]]:
        """All other rules, by chain."""
        found = {
            name: [data for _, data in rules if data not in _ASKING.get(name, ())]
            for name, rules in self.chains.items()
        }
        return {name: rules for name, rules in found.items() if rules}


def _called(comment: str) -> bytes:
    text = comment.encode() + b"\0"
    return bytes([nft.COMMENT, len(text)]) + text


_ASKING = {name: {_called(line.comment)} for name, line in LINES.items()}
ONCE = {name: [0] for name in LINES}
NEVER: dict[str, list[int]] = {name: [] for name in LINES}


class Stage:
    """A table, its lines, and a mirror of the verdict that there may be."""

    def __init__(self) -> None:
        self.kernel = Kernel()
        self.table = OwnedTable(cast("Channel", self.kernel), "vpngate")
        self.lines = VerdictLines(self.table)
        self.now = 0.0
        self.held = False
        self.believed = RULESET
        self.put_up(RULESET)

    def put_up(self, ruleset: Ruleset) -> None:
        with self.lines.put_up(ruleset):
            self.table.commit(self.table.new_rules(_RULES[ruleset.enforce]))
        self.believed = ruleset

    def give(self) -> None:
        """A verdict; where no answer came it may be there."""
        try:
            self.lines.commit(VERDICT)
        except Rejected:
            raise
        except KernelRefused:
            self.held = True
            raise
        self.held = True

    def end(self) -> None:
        """The kernel is asked, and has none."""
        self.kernel.verdict = self.held = False

    def look(self, seconds: float = 5.0) -> None:
        self.now += seconds
        self.lines.look_after(self.now, held=self.held)

    def rest(self) -> None:
        """Nobody is slowed for as long as it takes."""
        self.end()
        for _ in range(3):
            self.look(QUIET)


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_lines_go_once_nothing_was_held_for_a_while(stage: Stage) -> None:
    others = stage.kernel.others()
    stage.look()
    stage.look(QUIET - 1)
    assert stage.kernel.asking() == ONCE
    stage.look(2)
    assert stage.kernel.asking() == NEVER
    assert stage.kernel.others() == others


def test_each_verdict_starts_the_while_anew(stage: Stage) -> None:
    """Also one that came and went between two looks."""
    stage.look()
    stage.look(QUIET - 1)
    stage.give()
    stage.end()
    stage.look(2)
    stage.look(QUIET - 1)
    assert stage.kernel.asking() == ONCE
    stage.look(2)
    assert stage.kernel.asking() == NEVER


def test_while_one_is_held_they_stay(stage: Stage) -> None:
    stage.give()
    for _ in range(5):
        stage.look(QUIET)
    assert stage.kernel.asking() == ONCE


def test_what_is_at_rest_asks_the_kernel_nothing_more(stage: Stage) -> None:
    stage.rest()
    asked = stage.kernel.asked
    for _ in range(5):
        stage.look(QUIET)
        stage.lines.commit([])  # of a look that found nothing to mend
    assert stage.kernel.asked == asked
    assert stage.kernel.asking() == NEVER


def test_a_verdict_brings_them_back_first_and_before_itself(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = {n: [data for _, data in r] for n, r in stage.kernel.chains.items()}
    stage.rest()
    sent: list[list[str]] = []
    commit = stage.kernel.commit

    def noted(changes: Sequence[Change]) -> None:
        sent.append([one.what for one in changes])
        commit(changes)

    monkeypatch.setattr(stage.kernel, "commit", noted)
    stage.give()
    now = {n: [data for _, data in r] for n, r in stage.kernel.chains.items()}
    assert now == whole
    (only,) = sent
    assert only[-1] == f"elements of {_VERDICTS}"
    assert all(what.startswith("rule ") for what in only[:-1])
    assert len(only) == len(LINES) + 1
    stage.give()
    assert sent[1:] == [only[-1:]]


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_what_becomes_of_the_first_verdict_is_made_good(
    stage: Stage, outcome: str
) -> None:
    stage.rest()
    stage.kernel.outcome = outcome
    with suppress(KernelRefused):
        stage.give()
    assert stage.kernel.asking() in (ONCE, NEVER)
    if stage.kernel.verdict:
        assert stage.kernel.asking() == ONCE
    stage.kernel.outcome = "made"
    stage.give()
    assert stage.kernel.asking() == ONCE


def test_a_line_that_stands_twice_is_taken_out_once(stage: Stage) -> None:
    """Nothing of ours does it; it would cost time until the next change of rules."""
    rules = stage.kernel.chains["ingress_udp_ipv4"]
    rules.insert(0, (1_000_000, rules[0][1]))
    stage.kernel.outcome = "lost"
    with suppress(Unanswered):
        stage.put_up(RULESET)
    stage.look()
    assert stage.kernel.asking() == ONCE


@pytest.mark.parametrize("ruleset", [RULESET, OBSERVING])
@pytest.mark.parametrize("outcome", ["refused", "lost", "lost, made"])
def test_a_change_of_rules_at_rest_that_went_wrong_leaves_no_verdict_unasked(
    stage: Stage, outcome: str, ruleset: Ruleset
) -> None:
    stage.rest()
    stage.kernel.outcome = outcome
    with pytest.raises(KernelRefused):
        stage.put_up(ruleset)
    there = "ingress_udp_ipv4" in stage.kernel.chains
    assert there is (ruleset.enforce or outcome != "lost, made")
    stage.give()
    assert stage.kernel.asking() == (ONCE if there else {})


def _event(chance: Random, stage: Stage) -> None:
    match chance.choice(("look", "look", "look", "give", "end", "end", "rules")):
        case "look":
            stage.look(chance.choice((5.0, QUIET)))
        case "give":
            stage.give()
        case "end":
            stage.end()
        case "rules":
            stage.put_up(chance.choice((RULESET, RULESET, OBSERVING)))


def _faults(kernel: Kernel, expected: Iterable[dict[str, list[bytes]]]) -> list[str]:
    found = []
    asking = kernel.asking()
    if kernel.verdict and not all(asking.values()):
        found.append("a verdict is not asked for everywhere")
    if any(places not in ([], [0]) for places in asking.values()):
        found.append("a line stands twice, or not first")
    if kernel.others() not in expected:
        found.append("another rule has changed")
    return found


def test_whatever_happens_no_verdict_is_left_unasked() -> None:
    """Changes that fail or whose answers get lost, one behind the other."""
    chance = Random(_SEED)
    stage = Stage()
    expected = []
    for ruleset in (OBSERVING, RULESET):
        stage.put_up(ruleset)
        expected.append(stage.kernel.others())
    seen = set()
    for number in range(_ROUNDS):
        stage.kernel.outcome = chance.choice((*OUTCOMES, "made", "made"))
        with suppress(KernelRefused):
            _event(chance, stage)
        where = f"seed {_SEED}, round {number}"
        assert _faults(stage.kernel, expected) == [], where
        seen.add((stage.kernel.verdict, any(stage.kernel.asking().values())))
        if chance.random() < 0.05:
            stage.kernel.outcome = "made"
            stage.look()
            if stage.kernel.verdict:
                assert all(stage.kernel.asking().values()), where
            stage.rest()
            # Where it is not known that enforcing began after all, they stay: it costs
            # time, and the next change of rules ends it.
            known = stage.believed.enforce
            assert not (known and any(stage.kernel.asking().values())), where
    assert seen == {(True, True), (False, True), (False, False), (True, False)}
