# SPDX-License-Identifier: GPL-2.0-or-later
"""A real BitTorrent download over uTP between two hosts of the lab.

Knows how to run two peers (`torrent_peer.py`) and what the leecher received; does
not know what stands between them.
"""

import contextlib
import json
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.lab import torrent_peer
from tests.lab.namespaces import LabError, Process
from tests.lab.topology import Place

_ROOT = Path(__file__).parents[2]
_PROGRAM = (
    *("env", f"PYTHONPATH={_ROOT}"),
    *(sys.executable, "-m", "tests.lab.torrent_peer"),
)
_CONNECT = 20.0  # seconds for the first byte of content
_FINISH = 15.0  # seconds for a peer to report after it was told to


def content(folder: Path) -> Path:
    """A folder with something to share, made once for all downloads."""
    made = folder / "shared"
    made.mkdir()
    torrent_peer.make(made)
    return made


class Download:
    """A download under way."""

    def __init__(self, leecher: Process) -> None:
        self._leecher = leecher

    def wait_until_under_way(self) -> None:
        """Returns when the first byte of content has come."""
        self._leecher.expect("downloading", _CONNECT)

    def stop(self) -> float:
        """End it; bit/s of content, its first moments (slow start) left out."""
        self._leecher.send(signal.SIGTERM)
        if self._leecher.wait(_FINISH) != 0:
            raise LabError(f"{self._leecher.name} failed:\n{self._leecher.tail()}")
        report = json.loads(self._leecher.output().splitlines()[-1])
        return float(report["received"]) * 8 / float(report["seconds"])


def _peer(what: str, place: Place, port: int, shared: Path) -> list[str]:
    torrent = str(shared / "content.torrent")
    return [*_PROGRAM, what, place.address, str(port), "--torrent", torrent]


@contextlib.contextmanager
def seeder(place: Place, port: int, shared: Path) -> Iterator[None]:
    """A peer that has everything, and speaks encrypted or not as it is spoken to."""
    command = [*_peer("seed", place, port, shared), "--folder", str(shared)]
    with place.namespace.running(*command) as process:
        process.expect("listening")
        yield


@contextlib.contextmanager
def download(
    leecher: Place,
    seeder: Place,
    shared: Path,
    *,
    port: int,
    rate: float,
    encrypted: bool,
) -> Iterator[Download]:
    """A download at `rate` bit/s, both peers on `port`; it is about to begin."""
    mine = tempfile.mkdtemp(dir=leecher.namespace.folder)
    command = [*_peer("leech", leecher, port, shared), "--folder", mine]
    command += ["--peer", seeder.address, "--rate", str(int(rate / 8))]
    command += ["--encryption", "forced" if encrypted else "off"]
    with leecher.namespace.running(*command) as process:
        yield Download(process)
