# SPDX-License-Identifier: GPL-2.0-or-later
"""Every test file is run by one worker, those of rates by three; and who is covered."""

import pytest

from tests.house import ROOT, is_covered
from tests.streams import RATE_STREAMS, RATES, SECONDS, stream_of

LIVE = {str(path.relative_to(ROOT)) for path in ROOT.glob("tests/netns/test_*.py")}


def test_the_files_named_are_there() -> None:
    named = RATES | SECONDS.keys()
    assert {file for file in named if not (ROOT / file).is_file()} == set()


def test_files_are_streams_of_their_own() -> None:
    others = LIVE - RATES
    assert {stream_of(f"{file}::test_one[a::b]") for file in others} == others


def test_files_that_measure_rates_share_few_streams_evenly() -> None:
    seconds: dict[str, int] = {}
    for file in RATES:
        stream = stream_of(f"{file}::test_one")
        seconds[stream] = seconds.get(stream, 0) + SECONDS.get(file, 0)
    assert len(seconds) == RATE_STREAMS
    assert max(seconds.values()) < 1.2 * min(seconds.values())


@pytest.mark.parametrize(
    ("file", "covered"),
    [
        ("unit/registry/test_guard.py", True),
        ("unit/registry/grace/test_departures.py", True),
        ("unit/test_policy.py", True),
        ("unit/test_house.py", False),
        ("unit/daemon/test_start.py", True),
        ("unit/cli/test_check.py", False),
        ("netns/test_smoke.py", False),
    ],
)
def test_what_is_covered_is_what_rooms_below_the_roof_are_tested_by(
    file: str, *, covered: bool
) -> None:
    path = ROOT / "tests" / file
    assert path.is_file()
    assert is_covered(path) is covered
