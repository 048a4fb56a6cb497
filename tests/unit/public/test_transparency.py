# SPDX-License-Identifier: GPL-2.0-or-later
"""The report keeps to its documented form, and has nothing of anybody in it."""

import json
import re
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.house import ROOT
from tests.unit.public import sample
from vpngate.policy import Verdict
from vpngate.public.transparency import transparency
from vpngate.public.wording import CLASS_NAMES, CLASSES, HALTS, TUNNELS
from vpngate.stance import HaltReason
from vpngate.tunnels import all_tunnels

SCHEMA = json.loads((ROOT / "docs" / "report.schema.json").read_text())
VALIDATOR = Draft202012Validator(SCHEMA)


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("name", sorted(sample.ALL.keys() - {"crowded"}))
def test_every_report_has_the_documented_form(name: str) -> None:
    report = json.loads(json.dumps(sample.ALL[name]()))
    assert [error.message for error in VALIDATOR.iter_errors(report)] == []


@pytest.mark.parametrize(
    "change",
    [
        {"address": "192.0.2.1"},
        {"made": "yesterday"},
        {"slowed_flows": -1},
        {"halts": {"a whim": 1}},
        {"gateway": {}},
    ],
)
def test_the_schema_refuses_what_is_no_report(change: dict[str, Any]) -> None:
    assert [*VALIDATOR.iter_errors(sample.enforcing() | change)]


@pytest.mark.parametrize("name", sample.ALL)
def test_it_holds_no_address(name: str) -> None:
    text = json.dumps(sample.ALL[name]())
    assert not re.search(r"\d+\.\d+\.\d+\.\d+|[0-9a-f]*::[0-9a-f]*", text)


def test_a_registry_without_an_envelope_has_no_name_and_no_end() -> None:
    state = sample.state()
    for key in ("name", "serial", "generated", "expires"):
        state["registry"][key] = None
    report = transparency(state, sample.facts(refreshed=None))
    assert [*VALIDATOR.iter_errors(report)] == []
    assert report["registry"]["expires"] is None


def test_text_from_outside_is_one_plain_line() -> None:
    report = transparency(sample.state(), sample.facts(suspend="a\nb\x1b[31m\u202e"))
    assert report["stance"]["suspended"] == r"a\nb\x1b[31m\u202e"


def test_counters_that_begin_anew_are_no_negative_rate() -> None:
    rates = {"all": {"upload": -8.0, "download": 1.6}}
    report = transparency(sample.state(), sample.facts(rates=rates))
    assert report["bits_per_second"] == {
        "all": {"upload": 0, "download": 2},
        "slowed": {"upload": 0, "download": 0},
    }


def test_there_are_words_for_everything_that_is_counted() -> None:
    assert set(CLASSES) == set(CLASS_NAMES) == set(Verdict)
    assert set(HALTS) == set(HaltReason)
    assert {tunnel.name for tunnel in all_tunnels()} == set(TUNNELS)
