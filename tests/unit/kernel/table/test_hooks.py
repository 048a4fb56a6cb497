# SPDX-License-Identifier: GPL-2.0-or-later
"""An interface that cannot be hooked is found, left alone, and tried again.

The live tests have a kernel that refuses one for want of room. Linux before 6.16 also
refuses a name that nobody has, which no other can be made to do: here is one that does.
"""

import errno
from collections.abc import Sequence
from dataclasses import replace
from random import Random

import pytest

from tests import rulesets
from vpngate.errors import MissingFeature
from vpngate.kernel.table import hooks as room
from vpngate.kernel.table.hooks import Hooks
from vpngate.kernel.table.owned import OwnedTable
from vpngate.kernel.wire.channel import Change
from vpngate.kernel.wire.failures import Failure, Rejected
from vpngate.kernel.wire.links import Device
from vpngate.ruleset import Ruleset, names

SEED = 20261126


class Kernel(OwnedTable):
    """A table that refuses some interfaces, and those that are gone."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, there: Sequence[str]) -> None:
        self.indexes = {name: number for number, name in enumerate(there, start=2)}
        self.refused: set[str] = set()
        self.hooked: set[str] = set()
        self.going: set[str] = set()  # between the look and the transaction
        self.exchanged: set[str] = set()  # likewise, for others of the same name
        self.missing = False  # the hook itself
        self.trials = 0
        monkeypatch.setattr(room, "current_devices", self._look)
        self.hooks = Hooks(self)

    def _look(self, wanted: Sequence[str]) -> dict[str, Device]:
        return {
            name: Device(self.indexes[name], 1500)
            for name in wanted
            if name in self.indexes
        }

    def hooked_interfaces(self) -> list[set[str]]:
        return [set(self.hooked), set(self.hooked)]

    def refusal_of(self, devices: Sequence[str], _priority: int) -> Failure | None:
        self.trials += 1
        assert 0 < len(devices) <= names.MOST_DEVICES
        if self.missing:
            return Failure("chain ingress_trial", errno.EOPNOTSUPP, "")
        bad = self.refused & set(devices) or set(devices) - self.indexes.keys()
        return Failure("chain ingress_trial", errno.E2BIG, "") if bad else None

    def hook(self, ruleset: Ruleset) -> None:
        """Hook what can be had, as the steps do."""
        chosen: list[str] = []

        def changes() -> list[Change]:
            chosen[:] = self.hooks.choose(ruleset).interfaces
            return []

        def commit(_changes: Sequence[Change]) -> None:
            for name in self.going:
                self.indexes.pop(name, None)
            self.going.clear()
            if self.exchanged:
                for name in self.exchanged:
                    self.indexes[name] += 1000
                self.exchanged.clear()
                raise Rejected([Failure("chain ingress", errno.ENOENT, "")])
            if self.missing:
                raise Rejected([Failure("chain egress", errno.EOPNOTSUPP, "")])
            if self.refused & set(chosen):
                raise Rejected([Failure("chain ingress", errno.E2BIG, "")])
            if set(chosen) - self.indexes.keys():  # as `introduce` has it
                failure = Failure("chain ingress_2", errno.ENOENT, "")
                raise MissingFeature("no netdev") from Rejected([failure])
            self.hooked = set(chosen)

        self.hooks.commit(commit, changes, ruleset)


def ruleset(interfaces: Sequence[str]) -> Ruleset:
    return replace(rulesets.RULESET, interfaces=tuple(interfaces))


def test_all_that_are_refused_are_found_and_no_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    random = Random(SEED)
    for _ in range(200):
        every = [f"ppp{number}" for number in range(random.randrange(2, 600))]
        kernel = Kernel(monkeypatch, every)
        few = random.randrange(0, min(5, len(every) - 1))
        kernel.refused = set(random.sample(every, few))
        kernel.hook(ruleset(every))
        assert kernel.hooked == set(every) - kernel.refused, SEED
        assert kernel.hooks.refused.keys() == kernel.refused
        assert kernel.trials <= 3 + 2 * few * 9  # by halving, not one by one
        assert kernel.hooks.are_whole(ruleset(every))


def test_what_goes_between_the_look_and_the_transaction_is_not_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kernel = Kernel(monkeypatch, ["lan0", "lan1", "lan2"])
    kernel.going = {"lan1"}
    kernel.hook(ruleset(["lan0", "lan1", "lan2", "later0"]))
    assert kernel.hooked == {"lan0", "lan2"}
    assert kernel.hooks.refused == {}


def test_what_is_back_after_a_refusal_is_hooked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kernel = Kernel(monkeypatch, ["lan0", "lan1"])
    kernel.exchanged = {"lan1"}
    kernel.hook(ruleset(["lan0", "lan1"]))
    assert kernel.hooked == {"lan0", "lan1"}
    assert kernel.hooks.refused == {}


def test_one_is_tried_again_with_the_others_and_in_its_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    every = ["lan0", "lan1", "lan2", "lan3"]
    kernel = Kernel(monkeypatch, every)
    kernel.refused = {"lan1", "lan2"}
    kernel.hook(ruleset(every))
    assert not kernel.hooks.try_again(ruleset(every))
    kernel.refused = {"lan1"}
    tries = [kernel.hooks.try_again(ruleset(every)) for _ in range(2)]
    assert any(tries)
    assert list(kernel.hooks.refused) == ["lan1"]
    kernel.indexes["lan1"] = 77  # another one of that name
    assert not kernel.hooks.are_whole(ruleset(every))
    kernel.refused = set()
    kernel.hook(ruleset(every))
    assert kernel.hooked == set(every)


def test_what_is_refused_for_no_one_in_particular_leaves_all_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    every = ["lan0", "lan1"]
    kernel = Kernel(monkeypatch, every)
    kernel.hook(ruleset(every))
    kernel.refused = set(every)
    with pytest.raises(Rejected):
        kernel.hook(ruleset(every))
    assert kernel.hooked == set(every)
    assert kernel.hooks.refused == {}


def test_a_hook_that_the_kernel_lacks_is_told_as_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kernel = Kernel(monkeypatch, ["lan0"])
    kernel.missing = True
    with pytest.raises(Rejected):
        kernel.hook(ruleset(["lan0"]))
    assert kernel.trials == 0
