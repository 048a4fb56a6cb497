# SPDX-License-Identifier: GPL-2.0-or-later
"""Who publishes, in children that start at a word; and what a gateway finds.

Knows how to have a publication begin, how to look at a published pair as a gateway
does, and when it fits; does not know what happens to publishers meanwhile.
"""

import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.faults.signing import Signer
from tests.unit.publishing.secret_keys import key_file
from vpngate.cli import main, publish
from vpngate.errors import FeedFault
from vpngate.feed.minisign import PublicKey, verify
from vpngate.registry import Limits, load

NAME = "registry.json"
ROWS = "prefix,registration\n192.0.2.0/24,R-1\n2001:db8::/32,R-2\n"


@dataclass
class Child:
    """A publisher that waits for a word; `go` says it."""

    pid: int
    word: int

    def go(self) -> None:
        os.write(self.word, b"!")
        os.close(self.word)

    def end(self) -> int:
        """The exit status; minus the signal's number."""
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def folder_in_memory() -> tempfile.TemporaryDirectory[str]:
    """Where a thousand changes that go to disk first take no time, if there is one."""
    memory = Path("/dev/shm")
    usable = os.access(memory, os.W_OK | os.X_OK)
    return tempfile.TemporaryDirectory(
        prefix="vpngate-", dir=memory if usable else None
    )


class Portal:
    """A folder that is published into, rows and a key."""

    def __init__(self, folder: Path) -> None:
        self.signer = Signer()
        self.public = PublicKey.parse(self.signer.public)
        self.rows, self.key = folder / "rows.csv", folder / "vpngate.key"
        self.www = folder / "www"
        self.www.mkdir()
        self.path = self.www / NAME
        self.signature = self.www / f"{NAME}.minisig"
        self.rows.write_text(ROWS)
        self.key.write_text(key_file(self.signer))

    @property
    def arguments(self) -> list[str]:
        """Of a publication, signed."""
        wish = ["--name", "portal", "--expires", "7d", "--sign-with", str(self.key)]
        return ["publish", str(self.rows), *wish, "-o", str(self.path)]

    def child(self) -> Child:
        """One that has everything imported, and begins at a word."""
        assert publish.__name__ in sys.modules  # before it is asked for by name
        hear, word = os.pipe()
        pid = os.fork()
        if pid == 0:  # pragma: no cover
            status = 99
            try:
                os.close(word)
                sys.stdout = sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115
                os.read(hear, 1)
                status = main(self.arguments)
            finally:
                os._exit(status)
        os.close(hear)
        return Child(pid, word)

    def publish(self) -> int:
        """The exit status of one that nothing happens to."""
        child = self.child()
        child.go()
        return child.end()

    def look(self) -> tuple[bytes | None, bytes | None]:
        """What is there under both names, as it is read one after the other."""
        data, signed = (
            each.read_bytes() if each.exists() else None
            for each in (self.path, self.signature)
        )
        return data, signed

    def fits(self, data: bytes | None, signed: bytes | None) -> bool:
        """Whether a gateway takes both."""
        if data is None or signed is None:
            return False
        try:
            verify(data, signed, self.public, "here")
        except FeedFault:
            return False
        return True

    def serial(self) -> int:
        """Of what is published now; AssertionError unless its signature fits."""
        data, signed = self.look()
        assert self.fits(data, signed)
        assert data is not None
        return serial_of(data)

    def beside(self) -> list[str]:
        """Everything in the folder, by path."""
        return sorted(str(path.relative_to(self.www)) for path in self.www.rglob("*"))


def serial_of(data: bytes) -> int:
    """Of a published registry."""
    serial = load(data, limits=Limits(), now=0.0).registry.serial
    assert serial is not None
    return serial
