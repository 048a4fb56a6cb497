# SPDX-License-Identifier: GPL-2.0-or-later
"""`make corpus CORPUS=DIR`: scores, second readings, what the prefilter lets through.

    python -m tests.corpus.report CORPUS [PEERS]

Exit status: 0 all promises kept, 1 not so, 2 no corpus there.
"""

import sys
import tempfile
from pathlib import Path

from tests.corpus.scoring import (
    LEAST_OF_PEERS,
    Corpus,
    classify,
    score,
    transplanted,
)
from tests.corpus.second_readings import compare
from tests.corpus.selectivity import MOST, measure


def main(folder: str, peers: str = "") -> int:
    given = [Corpus(Path(folder))]
    if peers:
        given.append(Corpus(Path(peers), scorer=given[0].folder, least=LEAST_OF_PEERS))
    for corpus in given:
        if not corpus.captures.is_dir():
            say(f"{corpus.folder}: no captures/ there; give the corpus's folder")
            return 2
    broken = [why for corpus in given for why in found_in(corpus)]
    broken += moved_in(given[0]) + let_through(given[0])
    for why in broken:
        say(f"broken promise: {why}")
    return 1 if broken else 0


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def found_in(corpus: Corpus) -> list[str]:
    """Score a corpus, and read it twice; what does not hold."""
    with tempfile.TemporaryDirectory() as scratch:
        found = Path(scratch, "found.jsonl")
        classify(corpus.captures, found)
        result = score(corpus, found)
    readings = compare(corpus.files())
    say(f"== {corpus.folder}\n{result.table}")
    say(f"messages that both readers read: {readings}\n")
    return [*result.broken_promises, *readings.different]


def moved_in(corpus: Corpus) -> list[str]:
    """Innocent flows on tunnels' ports: those that were taken for a tunnel."""
    if not corpus.transplant_py.is_file():
        return []
    with tempfile.TemporaryDirectory() as scratch:
        moved, wrong = transplanted(corpus, Path(scratch))
    say(f"innocent flows moved onto tunnels' ports: {moved}; confirmed: {len(wrong)}\n")
    return [f"a port made a tunnel: {flow}" for flow in wrong]


def let_through(corpus: Corpus) -> list[str]:
    """What the prefilter lets through where there is no tunnel."""
    prefilter = measure(corpus.negatives())
    say(
        f"packets of captures without a tunnel that pass the prefilter, of "
        f"{prefilter.packets}:\n{prefilter}"
    )
    if prefilter.share < MOST:
        return []
    return ["more than 1 packet in 1000 passes the prefilter"]


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
