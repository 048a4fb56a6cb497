# SPDX-License-Identifier: GPL-2.0-or-later
"""How fast captures are classified, beside ndpiReader, nfstream, tshark and tcpdump.

    python bench/classify.py FOLDER [--packets N] [--rounds N] [--nfstream PYTHON]

Makes in FOLDER, where they are not there yet, captures of so many packets as
`make_capture.py` does: few long flows, and many short ones. PYTHON is the interpreter
of a virtual environment that has nfstream; what is not there is said and left out. The
programs take turns on one core, start-up included. A figure is how often `vpngate
classify` would be done meanwhile, the median of the rounds, by the clock and by CPU
time (which what else runs on the machine changes less). `--jobs 2` reads two copies on
two cores, beside itself with `--jobs 1`. A round before them does not count: it brings
the captures into memory, and compiles vpngate's modules as installing it does.
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


Took = tuple[float, float]  # seconds: by the clock, of CPU


def took(command: list[str], environment: dict[str, str], cores: int = 1) -> Took:
    some = sorted(os.sched_getaffinity(0))[:cores]
    start = time.perf_counter()
    with subprocess.Popen(
        ["taskset", "-c", ",".join(map(str, some)), *command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
    ) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{command[0]} ended with status {process.returncode}")
    return time.perf_counter() - start, used.ru_utime + used.ru_stime


def peers(capture: str, nfstream: str | None) -> dict[str, list[str]]:
    """What is there of the other programs; what is not is said."""
    commands = {
        "ndpiReader": ["ndpiReader", "-q", "-i", capture],
        "tshark": ["tshark", "-q", "-r", capture],
        "tcpdump, trivial filter": ["tcpdump", "-r", capture, "udp port 9"],
    }
    if nfstream:
        commands["nfstream"] = [nfstream, "-c", NFSTREAM, capture]
    else:
        print("nfstream: not given (--nfstream PYTHON)")
    for name, command in list(commands.items()):
        if not shutil.which(command[0]):
            print(f"{name}: not installed")
            del commands[name]
    return commands


def compare(
    title: str, own: list[str], others: dict[str, list[str]], rounds: int, cores: int
) -> None:
    """Print what a program takes, and the others as multiples of that."""
    times: dict[str, list[Took]] = {name: [] for name in ("vpngate", *others)}
    with tempfile.TemporaryDirectory() as compiled:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": compiled}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        for _ in range(1 + rounds):
            for name, command in {"vpngate": own, **others}.items():
                times[name].append(took(command, environment, cores))
    _, *ours = times.pop("vpngate")
    clock, cpu = (statistics.median(each) for each in zip(*ours, strict=True))
    print(f"{title}: vpngate classify {clock:.2f} s, {cpu:.2f} s of CPU")
    for name, (_, *theirs) in times.items():
        pairs = list(zip(theirs, ours, strict=True))
        by_clock, by_cpu = ([a[i] / b[i] for a, b in pairs] for i in (0, 1))
        print(
            f"  {name:<24} {statistics.median(by_clock):6.2f}  "
            f"({min(by_clock):.2f} to {max(by_clock):.2f})"
            f"   CPU {statistics.median(by_cpu):6.2f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--packets", type=int, default=3_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--nfstream", metavar="PYTHON")
    args = parser.parse_args()
    vpngate = [sys.executable, "-m", "vpngate", "classify", "--format", "json"]
    for kind in ("long", "short"):
        capture = str(args.folder / f"{kind}.pcap")
        if not Path(capture).exists():
            make = ["-m", "bench.make_capture", capture, "--kind", kind]
            subprocess.run(
                [sys.executable, *make, "--packets", str(args.packets)], check=True
            )
        others = peers(capture, args.nfstream)
        compare(f"{kind} flows", [*vpngate, capture], others, args.rounds, 1)
    both = [*vpngate, capture, capture, "--jobs"]
    compare("--jobs 2", [*both, "2"], {"--jobs 1": [*both, "1"]}, args.rounds, 2)


if __name__ == "__main__":
    main()
