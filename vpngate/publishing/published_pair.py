# SPDX-License-Identifier: GPL-2.0-or-later
"""A file and its signature that change at once, whatever happens in between.

Knows how two names come to show something new by a single rename; does not know what
is in the files. Blocking; raises UnwritableOutput.

No two renames are one. So both names are links that lead through a third one, and only
that one ever moves:

    registry.json            -> .registry.json.versions/current/registry.json
    registry.json.minisig    -> .registry.json.versions/current/registry.json.minisig
    .registry.json.versions/
        current -> 8
        8/  registry.json  registry.json.minisig
        7/  the version before, for who was about to open it

Where the names are files, or nothing yet, they become links first, through a version
that holds what they show already. A file without a signature is replaced by a rename.
"""

import errno
import fcntl
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from vpngate.errors import Problem, UnwritableOutput

SIGNATURE_SUFFIX = ".minisig"
_FILE_MODE = 0o644  # a web server reads them
_FOLDER_MODE = 0o755
_CURRENT = "current"
_NEW = "new"  # a link on its way to another name
PATIENCE = 300.0  # seconds; a million registrations take a slow machine two minutes
_PAUSE = 0.05


class PublishedPair:
    """The file and its signature, locked; made by `locked`."""

    def __init__(self, path: Path) -> None:
        """`locked` is the way to one."""
        self._folder, self._name = path.parent, path.name
        self._names = (path.name, path.name + SIGNATURE_SUFFIX)
        self._versions = path.parent / f".{path.name}.versions"
        self._new_file = path.parent / f".{path.name}.new"

    @classmethod
    @contextmanager
    def locked(
        cls, path: Path, patience: float = PATIENCE
    ) -> Iterator["PublishedPair"]:
        """The pair at `path`, for one writer; nothing is changed by that.

        Another writer is waited for, for `patience` seconds.
        """
        with _refusing(path):
            descriptor = os.open(
                path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
            )
        try:
            _lock(descriptor, path, patience)
            pair = cls(path)
            with _refusing(path):
                pair._check()
            yield pair
        finally:
            os.close(descriptor)

    def replace(self, content: bytes, signature: bytes | None) -> None:
        """Puts new content in place, on disk before it is seen.

        On failure what was there is still there; what a killed writer left is not.
        """
        with _refusing(self._folder / self._name):
            self._sweep()
            if signature is None:
                self._replace_file(content)
            else:
                self._adopt()
                contents = dict(zip(self._names, (content, signature), strict=True))
                self._turn_to(self._write_version(contents))
        with suppress(OSError):  # it is done: what is left over is in nobody's way
            self._sweep()

    def _check(self) -> None:
        """UnwritableOutput where a name is taken by something that is none of ours."""
        for name in self._names:
            path = self._folder / name
            if path.is_symlink() and path.readlink() != self._target(name):
                what = f"is a link to {path.readlink()}"
                raise _unwritable(path, what, "name the file that it leads to")
            if path.exists() and not path.is_file():
                raise _unwritable(path, "is not a regular file", "name a file")

    def _target(self, name: str) -> Path:
        return Path(self._versions.name, _CURRENT, name)

    def _adopt(self) -> None:
        """Have both names lead through `current`, and show what they showed."""
        paths = [self._folder / name for name in self._names]
        if self._current() is not None and all(path.is_symlink() for path in paths):
            return
        self._versions.mkdir(exist_ok=True)
        self._versions.chmod(_FOLDER_MODE)
        shown = {path.name: path.read_bytes() for path in paths if path.exists()}
        self._turn_to(self._write_version(shown))
        for path in paths:
            self._link(self._target(path.name), path)
        _sync(self._folder)

    def _write_version(self, contents: Mapping[str, bytes]) -> Path:
        """A folder of its own with these files, whole and on disk."""
        version = self._versions / str(max(self._numbers(), default=0) + 1)
        moment = self._next_moment()
        try:
            version.mkdir()
            version.chmod(_FOLDER_MODE)  # whatever the umask took away
            for name, content in contents.items():
                _write(version / name, content, moment)
            _sync(version)
            _sync(self._versions)
        except BaseException:
            shutil.rmtree(version, ignore_errors=True)
            raise
        return version

    def _turn_to(self, version: Path) -> None:
        """The moment that counts."""
        self._link(Path(version.name), self._versions / _CURRENT)
        _sync(self._versions)

    def _link(self, target: Path, path: Path) -> None:
        new = self._versions / _NEW
        new.unlink(missing_ok=True)
        new.symlink_to(target)
        new.rename(path)

    def _replace_file(self, content: bytes) -> None:
        path = self._folder / self._name
        try:
            _write(self._new_file, content, self._next_moment())
            self._new_file.rename(path)
        except BaseException:
            self._new_file.unlink(missing_ok=True)
            raise
        _sync(self._folder)

    def _next_moment(self) -> float:
        """When the next version was last modified, in seconds since 1970.

        Web servers tell versions apart by whole seconds (RFC 9110, 8.8.2).
        """
        now = time.time()
        try:
            return max(now, (self._folder / self._name).stat().st_mtime + 1)
        except FileNotFoundError:
            return now

    def _current(self) -> int | None:
        """The version that `current` leads to; None if it leads nowhere."""
        link = self._versions / _CURRENT
        if not link.is_symlink() or not link.is_dir():
            return None
        target = link.readlink().name
        return int(target) if target.isdecimal() else None

    def _numbers(self) -> list[int]:
        if not self._versions.is_dir():
            return []
        return [int(p.name) for p in self._versions.iterdir() if p.name.isdecimal()]

    def _sweep(self) -> None:
        """Removes all but the current version and the one before it.

        What resists stays: it is in nobody's way.
        """
        with suppress(OSError):
            self._new_file.unlink()
        current = self._current()
        linked = any((self._folder / name).is_symlink() for name in self._names)
        if current is None or not linked:
            shutil.rmtree(self._versions, ignore_errors=True)
            return
        before = max((n for n in self._numbers() if n < current), default=current)
        keep = {_CURRENT, str(current), str(before)}
        for path in self._versions.iterdir():
            if path.name in keep:
                continue
            with suppress(OSError):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()


def _write(path: Path, content: bytes, modified: float) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, _FILE_MODE), "wb") as file:
        os.fchmod(file.fileno(), _FILE_MODE)
        file.write(content)
        file.flush()
        os.utime(file.fileno(), (modified, modified))
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, path: Path, patience: float) -> None:
    end = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() < end:
                time.sleep(_PAUSE)
                continue
            what = f"another process has its folder locked for {patience:g} s"
            raise _unwritable(path, what, "see which with fuser(1)") from None
        return


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        full = error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
        what = f"cannot be written ({error.strerror or error})"
        remedy = (
            "make room; what was there stands" if full else "see who may write there"
        )
        raise _unwritable(path, what, remedy) from error


def _unwritable(path: Path, what: str, remedy: str) -> UnwritableOutput:
    return UnwritableOutput(Problem(str(path), what, remedy))
