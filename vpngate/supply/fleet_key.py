# SPDX-License-Identifier: GPL-2.0-or-later
"""The key that a fleet's gateways share, in a file that the operator names.

Knows which file is of use, and never tells what is in it; does not know what the key
chooses. Blocking.
"""

import os
import stat
from hashlib import blake2b
from pathlib import Path

from vpngate.errors import InvalidConfig, Problem

SIZE = 32  # bytes of a key
_LEAST = 16  # bytes of a file
_MOST = 4096


def read_fleet_key(name: str) -> bytes:
    """The key that stands in a file, blanks around it aside: on every gateway the same.

    InvalidConfig, of one line, where the file is of no use.
    """
    path = Path(name)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            about = os.fstat(descriptor)
            if not stat.S_ISREG(about.st_mode):
                raise _bad(path, "is no regular file")
            if about.st_mode & (stat.S_IROTH | stat.S_IWOTH | stat.S_IWGRP):
                what = "is open to others, who could tell whom it chooses"
                raise _bad(path, what, f"chmod 0640 {path}")
            content = file.read(_MOST + 1).strip()
    except OSError as error:
        raise _bad(path, f"cannot be read ({error.strerror})") from None
    if not _LEAST <= len(content) <= _MOST:
        what = f"holds {len(content)} bytes, not {_LEAST} to {_MOST}"
        raise _bad(path, what, "head -c 32 /dev/urandom | base64")
    return blake2b(content, digest_size=SIZE).digest()


def fleet_key_problems(name: str) -> list[Problem]:
    """What is wrong with the file of that name, if it names one."""
    if name:
        try:
            read_fleet_key(name)
        except InvalidConfig as error:
            return list(error.problems)
    return []


def _bad(
    path: Path, what: str, remedy: str = "give a file of 32 random bytes"
) -> InvalidConfig:
    return InvalidConfig([Problem(f"gateway.share_key: {path}", what, remedy)])
