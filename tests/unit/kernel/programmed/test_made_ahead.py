# SPDX-License-Identifier: GPL-2.0-or-later
"""What is made ahead is let go of, whoever still makes it, and made of what counts."""

from dataclasses import fields, replace
from types import SimpleNamespace
from typing import cast

import pytest

from tests.rulesets import RULESET
from vpngate.kernel.bpf import programs
from vpngate.kernel.bpf.code.stages import PlaneParts
from vpngate.kernel.programmed import made_ahead
from vpngate.kernel.programmed.made_ahead import MadeAhead, StageSet, in_programs
from vpngate.prefixes.intervals import Intervals

HEADERS = frozenset({14})


def test_what_is_made_when_it_is_over_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A thread may be at it still: nobody would close its programs."""
    closed: list[int] = []
    numbers = iter(range(10, 20))

    def load(parts: PlaneParts, headers: frozenset[int], *, hooks: bool) -> StageSet:
        assert not hooks
        return StageSet(parts, headers, {0: next(numbers)}, {})

    monkeypatch.setattr(made_ahead, "load", load)
    monkeypatch.setattr(programs, "close", closed.append)
    parts = cast("PlaneParts", SimpleNamespace())
    ahead = MadeAhead()
    for _ in range(3):
        ahead.make(parts, HEADERS, hooks=False)
    assert closed == [10]  # two are kept
    ahead.close()
    assert closed == [10, 11, 12]
    ahead.make(parts, HEADERS, hooks=False)
    assert closed == [10, 11, 12, 13]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("table", "another"),
        ("interfaces", ("lan9",)),
        ("hook_priority", 7),
        ("deadman", 77.0),
        ("rate", 7_000_000),
        ("max_flows", 777),
        ("nflog_group", 7),
        ("spared", Intervals.of_prefixes(["192.0.2.0/24"])),
    ],
)
def test_of_this_no_program_is_made(name: str, value: object) -> None:
    changed = replace(RULESET, **{name: value})  # type: ignore[arg-type]
    assert changed != RULESET
    assert in_programs(changed) == in_programs(RULESET)


def test_of_all_else_they_are() -> None:
    others = {
        "subscriber_side": not RULESET.subscriber_side,
        "enforce": not RULESET.enforce,
        "signatures": RULESET.signatures[:1],
        "carriers": RULESET.carriers[:1],
        "packets_per_second": RULESET.packets_per_second + 100,
        "reverse_path": not RULESET.reverse_path,
    }
    left_out = {"table", "interfaces", "hook_priority", "deadman", "rate"}
    left_out |= {"max_flows", "nflog_group", "spared"}
    assert {one.name for one in fields(RULESET)} == others.keys() | left_out
    for name, value in others.items():
        changed = replace(RULESET, **{name: value})  # type: ignore[arg-type]
        assert in_programs(changed) != in_programs(RULESET), name
