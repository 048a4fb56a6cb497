# SPDX-License-Identifier: GPL-2.0-or-later
"""A folder whose files appear whole or not at all.

Knows temporary files, fsync, rename and locks, and what a disk may refuse; does not
know what is in the files. Blocking; raises FeedFault.
"""

import errno
import fcntl
import os
import stat
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vpngate.errors import FeedFault
from vpngate.feed.faults import Reason, fault

_FILE_MODE = 0o640  # the daemon writes, its group reads, nobody else
_OWN_MODE = 0o600  # the daemon alone
_FOLDER_MODE = 0o750
_TEMPORARY = ".new-"
_OWN_TEMPORARY = ".next-"  # of a file that stands by itself: no sweep may take it
_REGISTRY = "the last good registry"
_NO_FILE = frozenset({errno.ELOOP, errno.ENXIO})  # a link, a socket
_LOCK_PATIENCE = 10.0  # seconds
_LOCK_PAUSE = 0.05


class StateFolder:
    """An open folder; made by `writing` and `reading`, or for a file by itself."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._folder = descriptor
        self._what = _REGISTRY
        self._mode = _FILE_MODE
        self._temporary = _TEMPORARY

    @classmethod
    @contextmanager
    def writing(cls, path: Path) -> Iterator["StateFolder"]:
        """The folder for one writer, made if missing."""
        try:
            path.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
            folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise _unwritable(path, error) from error
        try:
            _lock(path, folder, fcntl.LOCK_EX, Reason.STATE_UNWRITABLE)
            yield cls(path, folder)
        finally:
            os.close(folder)

    @classmethod
    @contextmanager
    def reading(cls, path: Path) -> Iterator["StateFolder | None"]:
        """The folder for any number of readers; None if there is none."""
        try:
            folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            yield None
            return
        except OSError as error:
            raise _unreadable(path, error) from error
        try:
            _lock(path, folder, fcntl.LOCK_SH, Reason.STATE_UNREADABLE)
            yield cls(path, folder)
        finally:
            os.close(folder)

    @classmethod
    @contextmanager
    def of_one_file(
        cls, path: Path, what: str, *, make: bool = False
    ) -> Iterator["StateFolder"]:
        """The folder for a file of one writer that belongs to no other.

        Nobody is waited for: however long a registry takes to be written. What is
        written is readable for the daemon alone. `what` is in it, for messages; a
        folder that is not there is made if `make`, and else one without files.
        """
        folder = -1
        try:
            if make:
                path.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
            folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            if make:
                raise _unwritable(path, error, what) from error
            if not isinstance(error, FileNotFoundError):
                raise _unreadable(path, error, what) from error
        one = cls(path, folder)
        one._what, one._mode, one._temporary = what, _OWN_MODE, _OWN_TEMPORARY
        try:
            yield one
        finally:
            if folder >= 0:
                os.close(folder)

    def read(self, name: str, max_bytes: int) -> bytes | None:
        """A file's content, at most one byte more than `max_bytes`; None if missing.

        What is no regular file is none of ours, and has no content.
        """
        if self._folder < 0:
            return None
        try:
            descriptor = os.open(
                name,
                os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC,
                dir_fd=self._folder,
            )
            try:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    return b""
                with os.fdopen(descriptor, "rb", closefd=False) as file:
                    return file.read(max_bytes + 1)
            finally:
                os.close(descriptor)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno in _NO_FILE:
                return b""
            raise _unreadable(self._path / name, error, self._what) from error

    def empty(self, name: str) -> None:
        """Leaves nothing in a file that is there: possible on a disk that is full."""
        flags = os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            with suppress(FileNotFoundError):
                descriptor = os.open(name, flags, dir_fd=self._folder)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
        except OSError as error:
            raise _unwritable(self._path / name, error, self._what) from error

    def replace(self, name: str, content: bytes) -> None:
        """Puts a file into place, on disk before it is visible.

        On failure what was there is still there.
        """
        temporary = self._temporary + name
        try:
            self._write(temporary, content)
            os.rename(temporary, name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
            os.fsync(self._folder)
        except OSError as error:
            self._remove(temporary)
            raise _unwritable(self._path / name, error, self._what) from error

    def _write(self, name: str, content: bytes) -> None:
        self._remove(name)  # left by a crash
        descriptor = os.open(
            name,
            os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC,
            self._mode,
            dir_fd=self._folder,
        )
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, self._mode)  # whatever the umask took away
            file.write(content)
            file.flush()
            os.fsync(descriptor)

    def set_aside(self, name: str, aside: str) -> None:
        """Gives a file another name, if it can be done: it is to be looked at."""
        with suppress(OSError):
            os.rename(name, aside, src_dir_fd=self._folder, dst_dir_fd=self._folder)

    def sweep(self, keep: Collection[str], prefixes: tuple[str, ...]) -> None:
        """Removes files of ours that are not in `keep`; what resists stays."""
        with suppress(OSError), os.scandir(self._folder) as entries:
            for name in [entry.name for entry in entries]:
                ours = name.startswith((*prefixes, _TEMPORARY))
                if ours and name not in keep:
                    self._remove(name)

    def _remove(self, name: str) -> None:
        with suppress(OSError):
            os.unlink(name, dir_fd=self._folder)


def _lock(path: Path, folder: int, kind: int, reason: Reason) -> None:
    """Waits for a lock on the folder; FeedFault if another holds it for too long."""
    end = time.monotonic() + _LOCK_PATIENCE
    while True:
        try:
            fcntl.flock(folder, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() < end:
                time.sleep(_LOCK_PAUSE)
                continue
            what = f"another process has held it locked for {_LOCK_PATIENCE:g} s"
            remedy = "see which with fuser(1); each daemon needs a state of its own"
            raise fault(reason, str(path), what, remedy) from None
        return


def _unwritable(path: Path, error: OSError, kept: str = _REGISTRY) -> FeedFault:
    full = error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
    what = f"{kept} cannot be kept ({error.strerror})"
    remedy = "make room on the disk" if full else "see that vpngate may write there"
    return fault(Reason.STATE_UNWRITABLE, str(path), what, remedy)


def _unreadable(path: Path, error: OSError, kept: str = _REGISTRY) -> FeedFault:
    what = f"{kept} cannot be read ({error.strerror})"
    remedy = "see that vpngate may read there"
    return fault(Reason.STATE_UNREADABLE, str(path), what, remedy)
