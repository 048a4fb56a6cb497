# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes requirements/*.txt anew: each pin with the hash of every file it may be.

Knows which machines and Pythons vpngate is installed on, and has pip ask its index;
no address of a download is written. Run by `make hashes`, which needs a network.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from packaging.utils import canonicalize_name

from release.pins import NO_WHEELS, ROOT, SOURCE_BUILDS, by_use, pins

FOLDER = ROOT / "requirements"
PYTHONS = ("3.11", "3.12", "3.13")
# glibc as old as each has had to be; Debian 12 has 2.36.
MACHINES = {
    machine: [f"manylinux_2_28_{machine}", f"manylinux_2_17_{machine}"]
    for machine in ("x86_64", "aarch64")
}
COMMON = "x86_64"  # for it everybody publishes wheels
HEADS = {
    "run": "What vpngate runs with.",
    "build": "What builds vpngate, and packages without a wheel.",
    "dev": "What checks and tests vpngate.",
    "bench": "What vpngate is compared with.",
}

# By canonical name: the files' SHA-256, and what the package says it needs.
Hashes = dict[str, set[str]]
Needed = dict[str, list[str]]


def main() -> None:
    """Ask for all of them, then write."""
    found: Hashes = {}
    needed: Needed = {}
    for options, wanted in _questions():
        ask(wanted, options, found, needed)
    FOLDER.mkdir(exist_ok=True)
    for use, chosen in by_use(lambda name: needed.get(name, ())).items():
        (FOLDER / f"{use}.txt").write_text(page(HEADS[use], chosen, found))


def _questions() -> Iterator[tuple[list[str], list[str]]]:
    """What pip is to be asked: options, and the pins to ask about with them."""
    every = [f"{name}=={version}" for name, version in pins().items()]
    built = [line for line in every if line.partition("==")[0] in SOURCE_BUILDS]
    wheels = [line for line in every if line.partition("==")[0] not in NO_WHEELS]
    yield [f"--no-binary={','.join(SOURCE_BUILDS)}"], built
    for machine, platforms in MACHINES.items():
        wanted = wheels if machine == COMMON else [w for w in wheels if w not in built]
        for python in PYTHONS:
            options = [f"--python-version={python}", "--only-binary=:all:"]
            yield [*options, *(f"--platform={each}" for each in platforms)], wanted


def ask(
    wanted: Iterable[str], options: Iterable[str], found: Hashes, needed: Needed
) -> None:
    """Have pip choose a file for each of the pins, and note what it says of it."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run"]
        command += ["--ignore-installed", "--no-deps", f"--target={folder}/none"]
        command += [f"--report={report}", *options, *wanted]
        subprocess.run(command, check=True)  # noqa: S603 - pip, on our own pins
        for item in json.loads(report.read_text())["install"]:
            name = canonicalize_name(item["metadata"]["name"])
            digest = item["download_info"]["archive_info"]["hashes"]["sha256"]
            found.setdefault(name, set()).add(digest)
            needed[name] = item["metadata"].get("requires_dist", [])


def page(head: str, chosen: dict[str, str], found: Hashes) -> str:
    """A requirements file; see pip's "secure installs"."""
    lines = [f"# {head}", "# Written by `make hashes` from constraints.txt."]
    for name, version in chosen.items():
        hashes = [f"--hash=sha256:{each}" for each in sorted(found[name])]
        lines.append(" \\\n    ".join([f"{name}=={version}", *hashes]))
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
