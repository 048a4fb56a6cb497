# SPDX-License-Identifier: GPL-2.0-or-later
"""The key that chooses the share of the subscribers that is acted on.

Knows where it is: in a file that the operator names, for a whole fleet, or made once
and kept in the state folder. Never tells it. Blocking.
"""

import logging
import os
import secrets
import stat
from hashlib import blake2b
from pathlib import Path

from vpngate.config import Config
from vpngate.errors import FeedFault, InvalidConfig, Problem
from vpngate.feed.state.statefolder import StateFolder
from vpngate.log_events import named

NAME = "share-key"
_SIZE = 32  # bytes of a key that is made here
_LEAST = 16  # bytes of one that is given
_MOST = 4096
_WHAT = "the share key"

_log = logging.getLogger(__name__)


def share_key(config: Config) -> bytes:
    """The key that a configuration means.

    InvalidConfig, of one line, where it names a file that is of no use.
    """
    if config.gateway.share_key:
        return _given(Path(config.gateway.share_key))
    return _own(Path(config.registry.state))


def _given(path: Path) -> bytes:
    """What stands in a file, blanks around it aside: the same on every gateway."""
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
    return blake2b(content, digest_size=_SIZE).digest()


def _own(folder: Path) -> bytes:
    """The one in the state folder; made if there is none, or none that is sound."""
    key = secrets.token_bytes(_SIZE)
    try:
        with StateFolder.of_one_file(folder, _WHAT) as kept:
            content = kept.read(NAME, _SIZE)
        if content is not None and len(content) == _SIZE:
            return content
        if content is not None:
            _log.warning(
                "%s: is damaged; another is made",
                folder / NAME,
                extra=named("share_key_damaged"),
            )
        with StateFolder.of_one_file(folder, _WHAT, make=True) as kept:
            kept.replace(NAME, key)
    except FeedFault as fault:
        _log.warning(
            "%s; the next start chooses other subscribers",
            fault,
            extra=named("share_key_not_kept"),
        )
    return key


def _bad(
    path: Path, what: str, remedy: str = "give a file of 32 random bytes"
) -> InvalidConfig:
    return InvalidConfig([Problem(f"gateway.share_key: {path}", what, remedy)])
