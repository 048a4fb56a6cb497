# SPDX-License-Identifier: GPL-2.0-or-later
"""Feeds every parser with nonsense for some time.

    python -m tests.fuzz [SECONDS]

Knows how many examples fit the time that is left; does not know any parser. A round
is a run of tests/fuzz with a seed of its own, which is printed: the same seed and
number of examples repeat it. No round is interrupted, so that a failure is always
shrunk and told: rounds are sized by what the last one took. What was found is kept in
.hypothesis, and comes first in the next run. A parser that hangs is a finding too.
"""

import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Sequence

from tests.house import ROOT

_PYTEST = ["-m", "pytest", "-q", "-x", "tests/fuzz", "--hypothesis-show-statistics"]
_FIRST_ROUND = 50  # examples a test: enough to learn the pace
_LEAST_ROUND = 10
_LONGEST_ROUND = 60.0  # seconds
_STARTING = 3.0  # seconds, before the first example
_MARGIN = 0.85  # of the time left: paces differ
_PASSING = re.compile(r"- (\d+) passing\b")


def main(seconds: float = 300.0) -> int:
    """0 if nothing was found in about that many seconds."""
    begin = time.monotonic()
    executed = rounds = 0
    examples = _FIRST_ROUND
    while examples >= _LEAST_ROUND:
        seed = random.SystemRandom().getrandbits(32)
        _say(f"round {rounds + 1}: {examples} examples a test, seed {seed}")
        started = time.monotonic()
        passed = _run("round", examples, [f"--hypothesis-seed={seed}"])
        if passed is None:
            return 1
        executed, rounds = executed + passed, rounds + 1
        took = time.monotonic() - started
        left = seconds - (time.monotonic() - begin) - 2 * _STARTING  # the replay's too
        pace = max(took - _STARTING, 0.1) / examples
        examples = int(min(_LONGEST_ROUND, left * _MARGIN - _STARTING) / pace)
    if _run("replay", 0, []) is None:
        return 1
    lasted = time.monotonic() - begin
    _say(f"nothing found in {executed} examples, {rounds} rounds, {lasted:.0f} s")
    return 0


def _run(profile: str, examples: int, options: Sequence[str]) -> int | None:
    """How many examples passed; None, and pytest's words printed, if one did not."""
    command = [sys.executable, *_PYTEST, f"--hypothesis-profile={profile}", *options]
    # Ten times a round's length, for one test: it hangs.
    command.append(f"--timeout={10 * _LONGEST_ROUND}")
    environment = os.environ | {"VPNGATE_FUZZ_EXAMPLES": str(max(examples, 1))}
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        print(done.stdout)  # noqa: T201 - a program
        _say(f"FOUND: {' '.join(command[1:])} (VPNGATE_FUZZ_EXAMPLES={examples})")
        return None
    return sum(map(int, _PASSING.findall(done.stdout)))


def _say(text: str) -> None:
    print(f"fuzz: {text}", flush=True)  # noqa: T201 - a program


if __name__ == "__main__":
    sys.exit(main(*map(float, sys.argv[1:])))
