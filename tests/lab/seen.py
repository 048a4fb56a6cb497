# SPDX-License-Identifier: GPL-2.0-or-later
"""All that can be seen of a running daemon, by whoever may look, as bytes by name.

Knows every place: pages, the control socket, what commands print, the log, files, the
process, and what nft, tc and ip show of the kernel but for the elements of sets and
maps, which are verdicts and registrations by their nature. Does not know what is looked
for there.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from tests import planes
from tests.lab.daemon import VPNGATE, Daemon

PAGES = ("/", "/status.json", "/report.json", "/healthz", "/metrics", "/check")


def pages(running: Daemon) -> Iterator[tuple[str, bytes]]:
    for path in PAGES:
        yield f"page {path}", running.fetch(path)[1].encode()


def told(running: Daemon) -> Iterator[tuple[str, bytes]]:
    """What commands print."""
    socket, config = str(running.settings.socket), str(running.settings.config)
    for command in (
        ("status",),
        ("preview",),
        ("bundle", "--config", config),  # doctor, status, counters
    ):
        # Some end with 1 where something is not as it should be.
        argv = (VPNGATE, *command, "--socket", socket)
        yield (
            f"vpngate {command[0]}",
            running.namespace.run(*argv, check=False).encode(),
        )


def answers(running: Daemon) -> Iterator[tuple[str, bytes]]:
    for verb in ("status", "counters", "compare"):
        yield f"verb {verb}", json.dumps(running.ask(verb)).encode()


def files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every file of the daemon's, but the registry and its own configuration."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix not in {".toml", ".csv"}:
            yield f"file {path.name}", path.read_bytes()
        yield "names of files", str(path).encode()


def process(running: Daemon) -> Iterator[tuple[str, bytes]]:
    here = Path("/proc", str(running.process.pid))
    for name in ("cmdline", "environ", "comm", "status", "maps"):
        yield f"process: {name}", (here / name).read_bytes()
    for thread in (here / "task").iterdir():
        yield "process: a thread's name", (thread / "comm").read_bytes()


def kernel(running: Daemon) -> Iterator[tuple[str, bytes]]:
    """What is shown of the kernel, without the elements of sets and maps."""
    text = running.namespace.run("nft", "-j", "list", "ruleset")
    try:
        listed = json.loads(text)
    except json.JSONDecodeError:
        # nft 1.0.6 has no end of an owned table's flags: it prints what lies there.
        yield "nft, cut short", _without_elements(text).encode()
        listed = {"nftables": []}
    for each in listed["nftables"]:
        for kind, one in each.items():
            shown = {k: v for k, v in one.items() if k != "elem"}
            yield f"nft: a {kind}", json.dumps(shown).encode()
    yield (
        "nft, as people read it",
        _without_elements(running.namespace.run("nft", "list", "ruleset")).encode(),
    )
    for command in (
        ("tc", "-s", "-d", "qdisc", "show"),
        ("ip", "-d", "link", "show"),
        *(("tc", "-s", "-d", "class", "show", "dev", d) for d in _ifbs(running)),
    ):
        yield " ".join(command), running.namespace.run(*command).encode()


def _without_elements(text: str) -> str:
    return re.sub(r"elements = \{.*?\}\n", "", text, flags=re.DOTALL)


def _ifbs(running: Daemon) -> list[str]:
    links = json.loads(
        running.namespace.run("ip", "-json", "link", "show", "type", planes.KIND)
    )
    return [link["ifname"] for link in links if link]


def log(running: Daemon) -> Iterator[tuple[str, bytes]]:
    yield "the log", running.process.output().encode()


def everything(running: Daemon) -> Iterator[tuple[str, bytes]]:
    for part in (pages, told, answers, process, kernel, log):
        yield from part(running)
    yield from files(running.settings.folder)
