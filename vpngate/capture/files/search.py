# SPDX-License-Identifier: GPL-2.0-or-later
"""Finds the captures in a folder.

Knows how a capture begins, plain or in gzip, and how captures are usually called;
does not read them.
"""

import gzip
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path

from vpngate.capture.files.pcap import is_pcap
from vpngate.capture.files.pcapng import is_pcapng
from vpngate.errors import UnreadableInput

GZIP_MAGIC = b"\x1f\x8b"
_ENOUGH = 4  # bytes that tell a format
_CAPTURE_SUFFIXES = frozenset({".pcap", ".pcapng", ".cap"})


def is_capture(head: bytes) -> bool:
    """Whether a stream that begins so is a capture."""
    return is_pcap(head) or is_pcapng(head)


def captures(given: str) -> Iterator[tuple[str, Path]]:
    """The captures that a command line's argument stands for, with their names.

    A folder stands for every file below it that is a capture by its first bytes, or
    only by its name (reading it will say what is wrong with it), in order of their
    names below the folder; anything else stands for itself. Raises UnreadableInput
    for a folder without captures.
    """
    folder = Path(given)
    if not given or not folder.is_dir():
        yield given, folder
        return
    found = False
    for path in _files(folder):
        found = True
        yield str(path.relative_to(folder)), path
    if not found:
        raise UnreadableInput(
            f"{given}: no capture in this folder; give a folder with pcap or pcapng "
            "files, gzip or not"
        )


def _files(folder: Path) -> Iterator[Path]:
    """Captures below a folder; links to folders are not followed."""
    waiting = [folder]
    while waiting:
        path = waiting.pop()
        try:
            if stat.S_ISDIR(path.lstat().st_mode):
                waiting += sorted(path.iterdir(), reverse=True)
            elif path.is_file() and _is_promising(path):
                yield path
        except OSError:
            # Reading it will say why it cannot be read.
            yield path


def _is_promising(path: Path) -> bool:
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix != ".gz"]
    if suffixes and suffixes[-1] in _CAPTURE_SUFFIXES:
        return True
    with path.open("rb") as stream:
        head = stream.read(_ENOUGH)
    if head.startswith(GZIP_MAGIC):
        try:
            with gzip.open(path) as content:
                head = content.read(_ENOUGH)
        except (OSError, EOFError, zlib.error):
            return False
    return is_capture(head)
