# SPDX-License-Identifier: GPL-2.0-or-later
"""A campaign told: how each fault went, how to have it again, and a row a kind."""

import json
from dataclasses import replace

from tests.campaign.campaign import Outcome
from tests.campaign.catalogue import FAULTS
from tests.campaign.counts import Counts, Kind
from tests.campaign.judge import Pair, Size
from tests.campaign.report import as_json, in_words, table
from tests.campaign.schedule import planned

_PAIR = Pair(Counts(2.0, 250, 3, 247, 0.2), Counts(2.0, 250, 1, 249, 0.1))
_OUTCOME = Outcome(
    planned=planned(FAULTS, 7, 312),
    suffered=(),
    noted=(),
    recovery=0.5,
    seconds=3.0,
    ended=False,
    pairs=dict.fromkeys(Kind, _PAIR),
    size=Size(100.0, 30, 10),
)
_BROKEN = replace(_OUTCOME, suffered=("plain UDP: lost 3",), noted=("so it is",))


def test_what_is_well_takes_a_line() -> None:
    (line,) = in_words(_OUTCOME)
    assert line.split()[:2] == ["312", "well"]
    assert _OUTCOME.planned.fault.name in line


def test_what_is_broken_says_what_and_how_to_have_it_again() -> None:
    lines = in_words(_BROKEN)
    assert lines[0].split()[:2] == ["312", "BROKEN"]
    assert any("plain UDP: lost 3" in line for line in lines)
    assert lines[-1].endswith("make campaign SEED=7 FROM=312 FAULTS=1")


def test_a_line_of_json_has_all_of_it() -> None:
    told = json.loads(as_json(_BROKEN))
    assert (told["seed"], told["number"]) == (7, 312)
    assert told["suffered"] == ["plain UDP: lost 3"]
    assert told["flows"]["registered tunnel"]["own"]["lost"] == 3


def test_a_row_a_kind_and_one_for_all() -> None:
    other = replace(_OUTCOME, planned=planned(FAULTS, 7, 313), ended=True)
    head, *rows = table([_OUTCOME, _BROKEN, other]).splitlines()
    assert head.split()[0] == "fault"
    *_, last = rows
    assert last.split()[:4] == ["all", "3", "1", "1"]
    assert last.split()[4:6] == ["27", "9"]
    assert len(rows) == len({each.planned.fault.name for each in (_OUTCOME, other)}) + 1
    assert table([]) == "no fault"
