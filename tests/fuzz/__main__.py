# SPDX-License-Identifier: GPL-2.0-or-later
"""Feeds every parser with nonsense for some time.

    python -m tests.fuzz [SECONDS]

Each round is a run of tests/fuzz with a seed of its own, which is printed: the same
seed repeats the round.
"""

import random
import subprocess
import sys
import time

from tests.house import ROOT

PYTEST = ["-m", "pytest", "-q", "-x", "--timeout=0", "tests/fuzz"]


def main(seconds: float = 300.0) -> int:
    end = time.monotonic() + seconds
    rounds = 0
    while (left := end - time.monotonic()) > 0:
        seed = random.SystemRandom().getrandbits(32)
        print(f"fuzz: round {rounds + 1}, seed {seed}, {left:.0f} s left", flush=True)  # noqa: T201 - a program
        options = ["--hypothesis-profile=long", f"--hypothesis-seed={seed}"]
        try:
            done = subprocess.run(
                [sys.executable, *PYTEST, *options],
                cwd=ROOT,
                timeout=left,
                check=False,
            )
        except subprocess.TimeoutExpired:
            break
        if done.returncode:
            return done.returncode
        rounds += 1
    print("fuzz: nothing found")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main(*map(float, sys.argv[1:])))
