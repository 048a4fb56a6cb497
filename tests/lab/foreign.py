# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs of other Debian releases than the machine's, in roots of their own.

Knows where `tests/install-foreign` unpacked them and how to run one there; does not
know what the programs do. What a program writes is in memory and gone with it, and so
is what is mounted for it: both belong to its mount namespace. It sees the machine's
devices and processes, the folder of the lab by the same name, and the network of the
namespace that it runs in.
"""

import contextlib
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.lab.namespaces import Namespace, Process

_ROOTS = Path(__file__).parents[2] / ".foreign"
_AT = "/mnt"  # where the root is put together, in the program's mount namespace
_ROOT = f"{_AT}/root"
_SHARED = ("dev", "proc", "sys")


@dataclass(frozen=True)
class Release:
    """A release of Debian by its name, as in tests/foreign.txt.

    `folders` are those that its programs expect and service managers make.
    """

    name: str
    folders: tuple[str, ...] = ()

    @property
    def _unpacked(self) -> Path:
        return _ROOTS / self.name

    @property
    def lacking(self) -> str:
        """Why nothing of it can run here; empty if it can."""
        if self._unpacked.is_dir():
            return ""
        return f"needs {self.name}, which tests/install-foreign could not have"

    def command(self, *argv: str) -> tuple[str, ...]:
        """`argv` as a command line for a process with the mounts of `mounts`."""
        return ("chroot", _ROOT, *argv)

    def mounts(self, namespace: Namespace) -> str:
        """Shell commands that put the root together."""
        folder = str(namespace.folder)
        layers = f"lowerdir=.,upperdir={_AT}/upper,workdir={_AT}/work"
        made = shlex.join(_ROOT + each for each in (folder, *self.folders))
        return " && ".join(
            (
                # Before anything hides it; and a path may hold what parts options.
                f"cd {shlex.quote(str(self._unpacked))}",
                f"mount -t tmpfs tmpfs {_AT}",
                f"mkdir {_AT}/upper {_AT}/work {_ROOT}",
                f"mount -t overlay overlay -o {layers} {_ROOT}",
                *(f"mount --rbind /{each} {_ROOT}/{each}" for each in _SHARED),
                f"mkdir -p {made}",
                shlex.join(("mount", "--bind", folder, _ROOT + folder)),
            )
        )

    def run(self, namespace: Namespace, *argv: str) -> str:
        """One of its programs to the end: its stdout; LabError if it fails."""
        return namespace.run(*self.command(*argv), mounts=self.mounts(namespace))

    @contextlib.contextmanager
    def running(
        self, namespace: Namespace, *argv: str, environment: tuple[str, ...] = ()
    ) -> Iterator[Process]:
        """One of its programs for the length of a with block.

        `environment` are variables, each as `NAME=value`.
        """
        command = ("env", *environment, *self.command(*argv))
        with namespace.running(*command, mounts=self.mounts(namespace)) as process:
            yield process
