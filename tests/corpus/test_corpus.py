# SPDX-License-Identifier: GPL-2.0-or-later
"""What is promised for real traffic, on captures that nobody here made."""

from pathlib import Path

import pytest

from tests.corpus.scoring import Corpus, classify, score
from tests.corpus.selectivity import MOST, measure

pytestmark = [pytest.mark.corpus, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def corpus(request: pytest.FixtureRequest) -> Corpus:
    folder: Path | None = request.config.getoption("--corpus")
    if folder is None:
        pytest.skip("no labelled captures; give them with --corpus DIR")
    return Corpus(folder)


def test_every_tunnel_is_found_and_nothing_else(corpus: Corpus, tmp_path: Path) -> None:
    found = tmp_path / "found.jsonl"
    classify(corpus, found)
    result = score(corpus, found)
    assert result.handshakes[1], "a corpus without handshakes proves nothing"
    assert not result.broken_promises, result.table


def test_ordinary_traffic_does_not_pass_the_prefilter(corpus: Corpus) -> None:
    prefilter = measure(corpus.negatives())
    assert prefilter.packets, "a corpus without other traffic proves nothing"
    assert prefilter.share < MOST, str(prefilter)
