# SPDX-License-Identifier: GPL-2.0-or-later
"""How fast captures are classified, beside ndpiReader and nfstream.

    python bench/classify.py LARGE SMALL [--rounds N] [--nfstream PYTHON]

LARGE is a capture as `make_capture.py` makes it, SMALL one of a few packets, whose
time is the start-up. PYTHON is the interpreter of a virtual environment that has
nfstream; without it nfstream is left out. The programs take turns; the figures are
wall-clock medians of the rounds, in seconds. A round before them does not count: it
brings the capture into memory, and compiles vpngate's modules as installing it does.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

NFSTREAM = """
import sys
from nfstream import NFStreamer
for flow in NFStreamer(source=sys.argv[1]):
    if flow.application_category_name == "VPN":
        print(flow.application_name, flow.src_ip, flow.dst_ip)
"""


def seconds(command: list[str], environment: dict[str, str]) -> float:
    start = time.perf_counter()
    done = subprocess.run(
        command, stdout=subprocess.DEVNULL, check=False, env=environment
    )
    took = time.perf_counter() - start
    if done.returncode:
        sys.exit(f"{command[0]} ended with status {done.returncode}")
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("large", type=Path)
    parser.add_argument("small", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--nfstream", metavar="PYTHON")
    args = parser.parse_args()
    vpngate = [sys.executable, "-m", "vpngate", "classify", "--format", "json"]
    contestants = {
        "vpngate classify": [*vpngate, str(args.large)],
        "vpngate classify, start-up": [*vpngate, str(args.small)],
    }
    if reader := shutil.which("ndpiReader"):
        contestants["ndpiReader"] = [reader, "-q", "-i", str(args.large)]
    if args.nfstream:
        contestants["nfstream"] = [args.nfstream, "-c", NFSTREAM, str(args.large)]
    times: dict[str, list[float]] = {name: [] for name in contestants}
    with tempfile.TemporaryDirectory() as compiled:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": compiled}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        for _ in range(1 + args.rounds):
            for name, command in contestants.items():
                times[name].append(seconds(command, environment))
    for name, (_, *all_times) in times.items():
        median = statistics.median(all_times)
        spread = f"{min(all_times):.2f} to {max(all_times):.2f}"
        print(f"{name:<28} {median:6.2f} s  ({spread})")


if __name__ == "__main__":
    main()
