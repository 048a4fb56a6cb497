# SPDX-License-Identifier: GPL-2.0-or-later
"""A seed says it all: which fault comes when, and with what."""

import json
from collections import Counter
from itertools import islice

from tests.campaign.catalogue import BY_NAME, FAULTS
from tests.campaign.families import programs
from tests.campaign.schedule import planned, schedule

_MANY = 3000


def test_the_same_seed_draws_the_same_faults() -> None:
    one, other = (list(schedule(FAULTS, 7, 0, 200)) for _ in range(2))
    assert one == other
    assert one != list(schedule(FAULTS, 8, 0, 200))


def test_a_fault_is_the_same_whichever_number_one_begins_with() -> None:
    whole = list(schedule(FAULTS, 7, 0, 320))
    assert list(schedule(FAULTS, 7, 312, 1)) == whole[312:313]
    assert planned(FAULTS, 7, 312) == whole[312]


def test_what_is_told_of_a_fault_repeats_it() -> None:
    assert planned(FAULTS, 7, 312).again == "make campaign SEED=7 FROM=312 FAULTS=1"
    killed = BY_NAME["killed"]
    assert planned([killed], 7, 3).again.endswith(" ONLY='killed'")


def test_each_comes_as_often_as_its_weight_says() -> None:
    count = Counter(each.fault.name for each in schedule(FAULTS, 1, 0, _MANY))
    assert count.keys() == BY_NAME.keys()
    weights = sum(fault.weight for fault in FAULTS)
    for fault in FAULTS:
        expected = _MANY * fault.weight / weights
        assert expected / 2 < count[fault.name] < 2 * expected, fault.name


def test_names_are_there_once_and_parameters_are_fit_for_json() -> None:
    assert len(BY_NAME) == len(FAULTS)
    for each in islice(schedule(FAULTS, 1, 0, 500), 500):
        parameters = dict(each.parameters)
        assert json.loads(json.dumps(parameters)) == parameters


def test_who_needs_verdicts_acted_on_has_them_acted_on() -> None:
    found = {each.fault.name: set[bool]() for each in schedule(FAULTS, 1, 0, _MANY)}
    for each in schedule(FAULTS, 1, 0, _MANY):
        found[each.fault.name].add(each.enforcing)
    for fault in FAULTS:
        assert True in found[fault.name]
        assert (False in found[fault.name]) is not fault.enforcing, fault.name


def test_faults_of_programs_have_names_of_their_own_and_are_fit_for_json() -> None:
    others = {fault.name for fault in FAULTS if fault not in programs.FAULTS}
    for faults in (programs.BY_LINKS, programs.BY_FILTERS):
        names = {fault.name for fault in faults}
        assert len(names) == len(faults)
        assert not names & others
        for each in schedule(faults, 1, 0, 200):
            parameters = dict(each.parameters)
            assert json.loads(json.dumps(parameters)) == parameters
