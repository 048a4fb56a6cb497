# SPDX-License-Identifier: GPL-2.0-or-later
"""What is promised for real traffic, on captures that nobody here made."""

from pathlib import Path

import pytest

from tests.corpus.scoring import (
    LEAST_OF_PEERS,
    Corpus,
    classify,
    score,
    transplanted,
)
from tests.corpus.second_readings import compare
from tests.corpus.selectivity import MOST, measure

pytestmark = [pytest.mark.corpus, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def corpus(request: pytest.FixtureRequest) -> Corpus:
    folder: Path | None = request.config.getoption("--corpus")
    if folder is None:
        pytest.skip("no labelled captures; give them with --corpus DIR")
    return Corpus(folder)


@pytest.fixture(scope="module")
def peers(request: pytest.FixtureRequest, corpus: Corpus) -> Corpus:
    folder: Path | None = request.config.getoption("--peers")
    if folder is None:
        pytest.skip("no captures of peers; give them with --peers DIR")
    return Corpus(folder, scorer=corpus.folder, least=LEAST_OF_PEERS)


@pytest.mark.parametrize("which", ["corpus", "peers"])
def test_every_tunnel_is_found_and_nothing_else(
    which: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    corpus: Corpus = request.getfixturevalue(which)
    found = tmp_path / "found.jsonl"
    classify(corpus.captures, found)
    result = score(corpus, found)
    assert result.handshakes[1], "a corpus without handshakes proves nothing"
    assert not result.broken_promises, result.table


@pytest.mark.parametrize("which", ["corpus", "peers"])
def test_both_readers_see_the_same(which: str, request: pytest.FixtureRequest) -> None:
    corpus: Corpus = request.getfixturevalue(which)
    readings = compare(corpus.files())
    assert readings.same, "captures without a message prove nothing"
    assert readings.different == []


def test_no_port_makes_a_tunnel(corpus: Corpus, tmp_path: Path) -> None:
    if not corpus.transplant_py.is_file():
        pytest.skip("nothing there to move flows onto other ports")
    moved, wrong = transplanted(corpus, tmp_path)
    assert moved
    assert wrong == []


def test_ordinary_traffic_does_not_pass_the_prefilter(corpus: Corpus) -> None:
    prefilter = measure(corpus.negatives())
    assert prefilter.packets, "a corpus without other traffic proves nothing"
    assert prefilter.share < MOST, str(prefilter)
