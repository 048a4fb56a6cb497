# SPDX-License-Identifier: GPL-2.0-or-later
"""`make corpus CORPUS=DIR`: the score, and what the prefilter lets through.

Exit status: 0 all promises kept, 1 not so, 2 no corpus there.
"""

import sys
import tempfile
from pathlib import Path

from tests.corpus.scoring import Corpus, classify, score
from tests.corpus.selectivity import MOST, measure


def main(folder: str) -> int:
    corpus = Corpus(Path(folder))
    if not corpus.captures.is_dir():
        sys.stderr.write(f"{folder}: no captures/ there; give the corpus's folder\n")
        return 2
    with tempfile.TemporaryDirectory() as scratch:
        found = Path(scratch, "found.jsonl")
        classify(corpus, found)
        result = score(corpus, found)
    prefilter = measure(corpus.negatives())
    broken = result.broken_promises
    if prefilter.share >= MOST:
        broken.append("more than 1 packet in 1000 passes the prefilter")
    sys.stdout.write(
        f"{result.table}\n"
        f"packets of captures without a tunnel that pass the prefilter, of "
        f"{prefilter.packets}:\n{prefilter}\n"
    )
    sys.stdout.writelines(f"broken promise: {why}\n" for why in broken)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
