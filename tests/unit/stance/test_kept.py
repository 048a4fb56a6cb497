# SPDX-License-Identifier: GPL-2.0-or-later
"""What is kept is read again as it was, and what is damaged is no stance."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpngate.config import Mode
from vpngate.stance import (
    Allowance,
    Cause,
    Configured,
    Footing,
    HaltReason,
    Stance,
    Why,
    of_text,
    to_text,
)
from vpngate.timekeeping.clock import Reading

READINGS = st.builds(
    Reading, st.floats(0, 4e9), st.floats(0, 1e8), st.text("abc-", min_size=1)
)
ALLOWANCES = st.builds(Allowance, READINGS, st.floats(0, 1e8))
SHARES = st.integers(0, 100)
WHYS = st.builds(
    Why, st.sampled_from(Cause), st.text(), st.none() | st.sampled_from(HaltReason)
)
CONFIGURED = st.builds(Configured, st.sampled_from(Mode), SHARES)
FOOTINGS = st.builds(Footing, st.sampled_from(Mode), SHARES, st.none() | ALLOWANCES)
WALLS = st.floats(0, 4e9)
STANCES = st.one_of(
    st.builds(Stance, st.just(Mode.OBSERVE), SHARES, WHYS, WALLS, CONFIGURED),
    st.builds(
        Stance,
        *(st.just(Mode.ENFORCE), SHARES, WHYS, WALLS, CONFIGURED),
        until=st.none() | ALLOWANCES,
    ),
    st.builds(
        Stance,
        *(st.just(Mode.ENFORCE), SHARES, WHYS, WALLS, CONFIGURED),
        until=st.none() | ALLOWANCES,
        confirm_by=ALLOWANCES,
        back=FOOTINGS,
    ),
)


@given(STANCES)
def test_what_is_kept_is_read_again(stance: Stance) -> None:
    text = to_text(stance)
    assert text.count("\n") == 1
    assert of_text(text) == stance


START = Reading(1e9, 5.0, "boot")
KEPT = Stance(
    Mode.ENFORCE,
    5,
    Why(Cause.ASKED, "uid 0"),
    1e9,
    Configured(Mode.OBSERVE, 100),
    Allowance(START, 3600.0),
    Allowance(START, 60.0),
    Footing(Mode.OBSERVE, 100),
)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["format"], 2),
        (["mode"], "drop"),
        (["mode"], None),
        (["mode"], "observe"),
        (["share"], 101),
        (["share"], True),
        (["share"], -1),
        (["since"], "yesterday"),
        (["since"], 1e18),
        (["why"], None),
        (["why", "cause"], "NOBODY"),
        (["why", "text"], 7),
        (["why", "halt"], "boredom"),
        (["configured", "share"], None),
        (["until", "seconds"], float("nan")),
        (["until", "seconds"], float("inf")),
        (["until", "seconds"], -1.0),
        (["until", "begun"], {}),
        (["confirm_by"], None),
        (["confirm_by", "begun", "boot"], ""),
        (["confirm_by", "begun", "boot"], 7),
        (["confirm_by", "begun", "uptime"], None),
        (["back"], None),
        (["back", "share"], 500),
        (["back", "until"], 7),
    ],
)
def test_what_is_damaged_is_no_stance(path: list[str], value: Any) -> None:
    kept = json.loads(to_text(KEPT))
    place = kept
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(ValueError, match=r"."):
        of_text(json.dumps(kept))


@given(st.binary() | st.text().map(str.encode))
def test_nor_is_anything_else(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        of_text(content.decode("utf-8", "strict"))


@given(st.integers(0, len(to_text(KEPT)) - 3))
def test_nor_is_a_part_of_it(length: int) -> None:
    with pytest.raises(ValueError, match=r"."):
        of_text(to_text(KEPT)[:length])


def test_nor_is_a_very_deep_one() -> None:
    with pytest.raises(ValueError, match=r"."):
        of_text('{"format":' * 100_000)
