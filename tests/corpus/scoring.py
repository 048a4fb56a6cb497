# SPDX-License-Identifier: GPL-2.0-or-later
"""Labelled captures, classified by the real command and scored.

Knows where a corpus keeps what (captures/, MANIFEST.tsv, flows.tsv, score.py,
transplant.py) and what is promised; does not know how a flow is found, or how it is
scored, or moved.
"""

import csv
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

MOST_FALSE_ALARMS = 9  # initiations alone where there is no tunnel
# Of the handshakes of peers that were tried one by one, in every setting they have.
LEAST_OF_PEERS = 215 / 215


@dataclass(frozen=True)
class Corpus:
    """A folder of labelled captures.

    `scorer` is the folder of its score.py where it has none; `least` the share of
    complete handshakes that is promised.
    """

    folder: Path
    scorer: Path | None = None
    least: float = 1.0

    @property
    def captures(self) -> Path:
        return self.folder / "captures"

    @property
    def score_py(self) -> Path:
        """The program that scores it."""
        return (self.scorer or self.folder) / "score.py"

    @property
    def transplant_py(self) -> Path:
        """The program that moves its innocent flows onto tunnels' ports."""
        return self.folder / "transplant.py"

    def files(self) -> list[Path]:
        """Its captures."""
        return sorted(path for path in self.captures.rglob("*") if path.is_file())

    def negatives(self) -> dict[Path, int]:
        """Captures in which nobody labelled a tunnel, and their packets."""
        plain_gre_and_ah = {"gre", "ah"}
        tunnels = {
            row["path"]
            for row in _table(self.folder / "flows.tsv")
            if row["proto"] not in plain_gre_and_ah or row["disputed"] == "y"
        }
        return {
            self.captures / row["path"]: int(row["packets"])
            for row in _table(self.folder / "MANIFEST.tsv")
            if row["path"] not in tunnels
        }


@dataclass(frozen=True)
class Score:
    """What score.py said of a classification.

    `least` is the share of `handshakes` that is promised.
    """

    table: str  # as printed
    handshakes: tuple[int, int]  # in real captures: confirmed, of
    established: tuple[int, int]
    false_positives: tuple[str, ...]
    false_alarms: tuple[str, ...]
    least: float = 1.0

    @property
    def broken_promises(self) -> list[str]:
        """One line for each promise that this score does not keep."""
        promises = {
            "a complete handshake in a real capture was missed": (
                *self.handshakes,
                self.least,
            ),
            "an established ESP or GRE flow was missed": (*self.established, 1.0),
        }
        broken = [
            f"{why}: {found} of {of} found"
            for why, (found, of, least) in promises.items()
            if found < of * least
        ]
        broken += [f"false positive: {flow}" for flow in self.false_positives]
        if len(self.false_alarms) > MOST_FALSE_ALARMS:
            broken.append(f"{len(self.false_alarms)} initiations without a tunnel")
        return broken


def classify(captures: Path, found: Path) -> None:
    """Write to `found` what `vpngate classify` says of all captures in a folder.

    Damaged captures, of which a corpus has some, make it end with status 2.
    """
    command = [sys.executable, "-m", "vpngate", "classify", "--format", "json"]
    with found.open("w") as output:
        done = subprocess.run(
            [*command, str(captures)],
            stdout=output,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    if done.returncode not in (0, 2) or "Traceback" in done.stderr:
        raise RuntimeError(
            f"vpngate classify ended with {done.returncode}: {done.stderr}"
        )


def score(corpus: Corpus, found: Path) -> Score:
    """What score.py says of `found`."""
    table = _score_py(corpus, found)
    result = json.loads(_score_py(corpus, found, "--json"))
    total = result["recall"]["total"]

    def tally(name: str) -> tuple[int, int]:
        return total[name]["found"], total[name]["of"]

    return Score(
        table=table,
        handshakes=tally("real_captures"),
        established=tally("established"),
        false_positives=tuple(result["false_positives"]),
        false_alarms=tuple(result["false_alarms"]),
        least=corpus.least,
    )


def transplanted(corpus: Corpus, folder: Path) -> tuple[str, list[str]]:
    """Move a corpus's innocent flows onto tunnels' ports, and classify them there.

    `folder` takes the captures. What was moved, and the flows that were taken for a
    tunnel all the same: a line each.
    """
    command = [sys.executable, str(corpus.transplant_py)]
    captures, found = folder / "moved", folder / "found.jsonl"
    moved = subprocess.run(
        [*command, str(corpus.folder), str(captures)],
        check=True,
        capture_output=True,
        text=True,
    )
    classify(captures, found)
    lines = found.read_text().splitlines()
    wrong = [line for line in lines if json.loads(line)["evidence"] == "confirmed"]
    return moved.stdout.strip(), wrong


def _score_py(corpus: Corpus, found: Path, *options: str) -> str:
    done = subprocess.run(
        [
            *(sys.executable, str(corpus.score_py), str(found)),
            *("--corpus", str(corpus.folder), "--min-recall", str(corpus.least)),
            *options,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in (0, 1):
        raise RuntimeError(done.stderr)
    return done.stdout


def _table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
