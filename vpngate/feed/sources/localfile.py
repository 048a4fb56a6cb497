# SPDX-License-Identifier: GPL-2.0-or-later
"""A registry from a local file, whole or not at all.

Knows how a file can be missing, unreadable, endless, or in the middle of being
written; does not know what is in it. Blocking; raises FeedFault.
"""

import errno
import os
import stat
import time
from io import BytesIO
from pathlib import Path

from vpngate.errors import FeedFault
from vpngate.feed.faults import Reason, fault

# A file modified less than this many seconds ago is looked at once more after as
# long: who copies into place writes in pieces, and half a registry parses too.
_QUIET_SECONDS = 0.1

_CHUNK = 1 << 20


def read_file(path: Path, max_bytes: int, *, settle: bool = True) -> bytes:
    """The content of a regular file.

    max_bytes   more is refused
    settle      wait a moment if the file was written only just now; not needed where
                a signature shows that it is whole
    """
    where = str(path)
    try:
        # Opening a pipe for reading would wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise _unreadable(where, error) from error
    try:
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode):
            what = "a folder" if stat.S_ISDIR(before.st_mode) else "not a regular file"
            raise fault(Reason.FILE_UNREADABLE, where, what, "name a file")
        content = _read(descriptor, max_bytes, where)
        if settle and abs(time.time() - before.st_mtime) < _QUIET_SECONDS:
            time.sleep(_QUIET_SECONDS)
        after = os.fstat(descriptor)
    except OSError as error:
        raise _unreadable(where, error) from error
    finally:
        os.close(descriptor)
    if _version(before) != _version(after) or len(content) != after.st_size:
        raise fault(
            Reason.FILE_CHANGING,
            where,
            "changed while it was read",
            "write a new file beside it and rename it into place",
        )
    return content


def _read(descriptor: int, max_bytes: int, where: str) -> bytes:
    content = BytesIO()  # hands its bytes on without a copy of them all
    while chunk := os.read(descriptor, _CHUNK):
        content.write(chunk)
        if content.tell() > max_bytes:
            raise fault(
                Reason.TOO_LARGE,
                where,
                f"more than {max_bytes} bytes",
                "see whether it is a registry",
            )
    return content.getvalue()


def _version(status: os.stat_result) -> tuple[int, int]:
    return status.st_size, status.st_mtime_ns


def _unreadable(where: str, error: OSError) -> FeedFault:
    if error.errno in {errno.ENOENT, errno.ENOTDIR}:
        return fault(Reason.FILE_MISSING, where, "no such file")
    what = f"cannot be read ({error.strerror or error})"
    remedy = "see its owner and permissions" if error.errno == errno.EACCES else ""
    return fault(Reason.FILE_UNREADABLE, where, what, remedy)
