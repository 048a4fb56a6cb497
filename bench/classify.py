# SPDX-License-Identifier: GPL-2.0-or-later
"""How fast captures are classified, beside ndpiReader, nfstream, tshark and tcpdump.

A row of the bench. Its captures are made up as `make_capture.py` does it: few long
flows, and many short ones. The programs take turns on one core, start-up included. A
round before them does not count: it brings the capture into memory, and compiles
vpngate's modules as installing it does. tshark has a capture of its own size: with
three times as many packets in few flows it took 17 times as long. nfstream is looked
for in this interpreter, or in the one that `NFSTREAM_PYTHON` names.
"""

import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from bench.contract import Effort, Figure, Row

_NFSTREAM = """
import sys
from nfstream import NFStreamer
for flow in NFStreamer(source=sys.argv[1]):
    if flow.application_category_name == "VPN":
        print(flow.application_name, flow.src_ip, flow.dst_ip)
"""
_TUNNELS = "wg or openvpn or isakmp or l2tp or pptp"  # as Wireshark names them
_OURS = "vpngate classify"
_TRIVIAL = "udp port 9"  # a filter that nothing passes
# Ours to theirs at most, by kind of flows: what was promised.
_AT_MOST = {
    "long": {"ndpiReader": 1.0, "nfstream": 0.1},
    "short": {"ndpiReader": 1 / 1.6, "nfstream": 0.1},
}
_TITLES = {"long": "few long flows", "short": "many short flows"}
_JOBS_AT_MOST = 1 / 1.8
_COPIES = 4  # captures that are classified side by side
_OF_TSHARK = 100_000  # packets
# Commands by name, and a sentence about those that are not there.
Peers = tuple[dict[str, list[str]], str]


class Took(NamedTuple):
    """What a program took."""

    clock: float  # seconds
    processor: float  # seconds
    memory: float  # MiB, at most


def took(command: list[str], environment: Mapping[str, str], cores: int) -> Took:
    """Run a program on the first cores; RuntimeError if it fails."""
    some = ",".join(map(str, sorted(os.sched_getaffinity(0))[:cores]))
    start = time.perf_counter()
    with subprocess.Popen(
        ["taskset", "-c", some, *command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
    ) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    clock = time.perf_counter() - start
    if process.returncode:
        raise RuntimeError(f"{command[0]} ended with status {process.returncode}")
    return Took(clock, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def peers(capture: str) -> Peers:
    """The other programs' commands, and a sentence about those that are not there."""
    nfstream = os.environ.get("NFSTREAM_PYTHON", "")
    if not nfstream and importlib.util.find_spec("nfstream"):
        nfstream = sys.executable
    commands = {
        "ndpiReader": ["ndpiReader", "-q", "-i", capture],
        "nfstream": [nfstream, "-c", _NFSTREAM, capture],
        "tcpdump, a trivial filter": ["tcpdump", "-r", capture, *_TRIVIAL.split()],
    }
    there = {name: line for name, line in commands.items() if shutil.which(line[0])}
    missing = ", ".join(commands.keys() - there.keys())
    return there, f"Not installed: {missing}." if missing else ""


def _tshark(capture: str) -> Peers:
    """Its command, that finds the same by its own dissectors; or a sentence."""
    if not shutil.which("tshark"):
        return {}, "Not installed: tshark."
    return {"tshark": ["tshark", "-n", "-r", capture, "-Y", _TUNNELS]}, ""


def in_turn(
    programs: Mapping[str, list[str]], turns: int, cores: int = 1
) -> dict[str, list[Took]]:
    """What each program took in each turn."""
    found: dict[str, list[Took]] = {name: [] for name in programs}
    with tempfile.TemporaryDirectory() as compiled:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": compiled}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        for turn in range(1 + turns):
            for name, command in programs.items():
                one = took(command, environment, cores)
                if turn:
                    found[name].append(one)
    return found


def measure(effort: Effort) -> Iterator[Figure]:
    packets = effort.pick(whole=3_000_000, quick=300_000, tiny=2000)
    turns = effort.pick(whole=5, quick=3, tiny=1)
    few = min(packets, _OF_TSHARK)
    with tempfile.TemporaryDirectory() as folder:
        capture = Path(folder, "capture.pcap")
        for kind in _TITLES:
            _make(capture, kind, packets)
            those = peers(str(capture))
            yield from _beside(those, kind, capture, packets, turns)
            yield from _side_by_side(kind, capture, packets, turns)
            _make(capture, kind, few)
            yield from _beside(_tshark(str(capture)), kind, capture, few, turns)


def _make(capture: Path, kind: str, packets: int) -> None:
    command = ["-m", "bench.make_capture", str(capture), "--kind", kind]
    subprocess.run(
        [sys.executable, *command, "--packets", str(packets)],
        check=True,
        stdout=subprocess.DEVNULL,
    )


def _beside(
    those: Peers, kind: str, capture: Path, packets: int, turns: int
) -> Iterator[Figure]:
    others, note = those
    found = in_turn({_OURS: [*_classify(), str(capture)], **others}, turns)
    title = f"{packets:,} packets, {_TITLES[kind]}"
    for unit, part in (("s of a core", 1), ("MiB at most", 2)):
        ours = [one[part] for one in found[_OURS]]
        for other in others or [""]:
            yield Figure(
                title,
                unit,
                what=_OURS,
                ours=ours,
                against=other,
                theirs=[one[part] for one in found.get(other, ())],
                at_most=_AT_MOST[kind].get(other) if part == 1 else None,
                note=note,
            )


def _side_by_side(
    kind: str, capture: Path, packets: int, turns: int
) -> Iterator[Figure]:
    """Copies of a capture by two processes on two cores, and by one.

    libpcap does as much beside it: what two cores of this machine gain at best.
    """
    copies = [str(capture)] * _COPIES
    command = [*_classify(), *copies, "--jobs"]
    pairs = {("--jobs 2", "--jobs 1"): ([*command, "2"], [*command, "1"])}
    if shutil.which("tcpdump"):
        two, one = (_tcpdumps(copies, number) for number in (2, 1))
        pairs["tcpdump, two at once", "one by one"] = two, one
    programs = {
        name: line
        for names, lines in pairs.items()
        for name, line in zip(names, lines, strict=True)
    }
    found = in_turn(programs, turns, cores=2)
    for both, alone in pairs:
        yield Figure(
            f"{_COPIES} captures of {packets:,} packets, {_TITLES[kind]}",
            "s by the clock",
            what=both,
            ours=[each.clock for each in found[both]],
            against=alone,
            theirs=[each.clock for each in found[alone]],
            at_most=_JOBS_AT_MOST if both == "--jobs 2" else None,
        )


def _tcpdumps(captures: list[str], at_once: int) -> list[str]:
    each = f"xargs -P {at_once} -I@ tcpdump -r @ {_TRIVIAL}"
    names = " ".join(map(shlex.quote, captures))
    return ["sh", "-c", f"printf '%s\\n' {names} | {each}"]


def _classify() -> list[str]:
    return [sys.executable, "-m", "vpngate", "classify", "--format", "json"]


ROW = Row(
    "classify",
    "Captures, read and classified",
    measure,
    seconds=900,
    about="Programs take turns on one core, start-up included, in seconds of that core "
    "(user and system); a round before them does not count. `--jobs` reads "
    "copies of a capture on two cores, by the clock, and tcpdump as many beside it.",
)

if __name__ == "__main__":
    for figure in measure(Effort.WHOLE):
        print(figure)
