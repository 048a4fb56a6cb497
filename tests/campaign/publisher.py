# SPDX-License-Identifier: GPL-2.0-or-later
"""Who keeps the registry: a signed file, published well and badly.

Knows what the file holds and how it can be spoilt; does not know who reads it.
"""

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.faults.signing import Signer
from tests.lab.topology import REGISTERED

_BORN = 1_600_000_000  # when serial 0 was signed, seconds since 1970
_FILLERS = [f"10.70.{n}.0/24" for n in range(60)]
_FILLERS += [f"2001:db8:{n:x}::/48" for n in range(0x100, 0x120)]
_NEWCOMERS = 50  # one of so many is there, another each time
SENTINEL = _FILLERS[0]
_HUGE = 1 << 31  # bytes


class Publisher:
    """The registry's file, its signature beside it."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.signer = Signer()
        self.serial = 0
        self.publish()

    def page(self, **fields: Any) -> dict[str, Any]:
        """What the registry says now."""
        newcomer = f"10.71.{self.serial % _NEWCOMERS}.0/24"
        prefixes = (*REGISTERED, *_FILLERS, newcomer)
        return {
            "registry": "campaign",
            "serial": self.serial,
            "registrations": [
                {"prefix": prefix, "registration": f"R-{place}"}
                for place, prefix in enumerate(prefixes)
            ],
            **fields,
        }

    def publish(self, **fields: Any) -> None:
        """The next serial, one prefix other than the last, as it should be done."""
        self.serial += 1
        self.put(json.dumps(self.page(**fields)).encode())

    def put(self, content: bytes, signer: Signer | None = None) -> None:
        """Any content, signed after what was signed last."""
        comment = f"timestamp:{_BORN + self.serial}\tfile:registry.json\thashed"
        self.replace((signer or self.signer).sign(content, comment), ".minisig")
        self.replace(content)

    def replace(self, content: bytes, suffix: str = "") -> None:
        """One of the two files, whole."""
        self.clear_way(suffix)
        made = self.file.with_name(self.file.name + suffix + ".new")
        made.write_bytes(content)
        made.replace(self.file.with_name(self.file.name + suffix))

    def clear_way(self, suffix: str = "") -> Path:
        """Where the file is to be, without what is no file there."""
        path = self.file.with_name(self.file.name + suffix)
        if path.is_dir():
            path.rmdir()
        return path

    def spoil(self, how: str) -> None:
        """What would be the next serial, and is no registry to take."""
        self.serial += 1
        SPOILT[how](self)


def _content(change: Callable[[bytes], bytes]) -> Callable[[Publisher], None]:
    """The bytes of what would be the next one, changed, and signed as they are."""
    return lambda by: by.put(change(json.dumps(by.page()).encode()))


def _altered(change: Callable[[dict[str, Any]], object]) -> Callable[[Publisher], None]:
    def spoil(by: Publisher) -> None:
        page = by.page()
        change(page)
        by.put(json.dumps(page).encode())

    return spoil


def _more(prefixes: list[str]) -> Callable[[dict[str, Any]], object]:
    return lambda page: page["registrations"].extend(
        {"prefix": prefix, "registration": "R-9999"} for prefix in prefixes
    )


def _wrong_signature(by: Publisher) -> None:
    by.put(json.dumps(by.page()).encode(), Signer(key_id=by.signer.key_id))


def _no_signature(by: Publisher) -> None:
    by.put(json.dumps(by.page()).encode())
    by.clear_way(".minisig").unlink()


def _gone(by: Publisher) -> None:
    by.clear_way().unlink(missing_ok=True)


def _folder(by: Publisher) -> None:
    _gone(by)
    by.file.mkdir()


def _pipe(by: Publisher) -> None:
    _gone(by)
    os.mkfifo(by.file)


def _huge(by: Publisher) -> None:
    by.put(b"{")
    with by.file.open("r+b") as file:
        file.truncate(_HUGE)


def _bomb(by: Publisher) -> None:
    by.put(gzip.compress(bytes(64 << 20)))


SPOILT: dict[str, Callable[[Publisher], None]] = {
    "truncated": _content(lambda content: content[: len(content) // 2]),
    "empty": _content(lambda _: b""),
    "bad gzip": _content(lambda content: gzip.compress(content)[:-20]),
    "garbled gzip": _content(
        lambda content: gzip.compress(content)[:40] + bytes(100) + content[:50]
    ),
    "bomb": _bomb,
    "wrong signature": _wrong_signature,
    "no signature": _no_signature,
    "signature of nonsense": lambda by: by.replace(b"\0\xff" * 500, ".minisig"),
    "shrunk": _altered(lambda page: page["registrations"].__delitem__(slice(2, 40))),
    "no registration": _altered(lambda page: page.update(registrations=[])),
    "grown": _altered(_more(["16.0.0.0/8", "32.0.0.0/8"])),
    "older serial": _altered(lambda page: page.update(serial=1)),
    "another registry": _altered(lambda page: page.update(registry="elsewhere")),
    "default route": _altered(_more(["0.0.0.0/0"])),
    "nonsense": _content(lambda _: os.urandom(5000)),
    "not UTF-8": _content(lambda content: content[:-1] + b"\xff}"),
    "deep": _content(lambda _: b"[" * 100_000),
    "many bad rows": _altered(_more([f"10.72.{n}.0/240" for n in range(50)])),
    "huge": _huge,
    "gone": _gone,
    "a folder": _folder,
    "a pipe": _pipe,
}
