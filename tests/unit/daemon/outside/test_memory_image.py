# SPDX-License-Identifier: GPL-2.0-or-later
"""A process that has forbidden it leaves no image of its memory behind."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

_DIE = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
_TELL = (
    "import ctypes, resource; print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0),"
    " resource.getrlimit(resource.RLIMIT_CORE)[0])"  # PR_GET_DUMPABLE
)
_FORBID = "from vpngate.daemon.outside import memory_image; memory_image.forbid(); "
_UNLIMITED = (
    "import resource; hard = resource.getrlimit(resource.RLIMIT_CORE)[1]; "
    "resource.setrlimit(resource.RLIMIT_CORE, (hard, hard)); "
)


def dumps(program: str, folder: Path) -> bool:
    """Whether the kernel writes, or hands to a program, an image of who dies so."""
    child = os.fork()
    if child == 0:  # pragma: no cover
        os.chdir(folder)
        os.execv(sys.executable, [sys.executable, "-c", program])
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status)
    return os.WCOREDUMP(status)


def test_it_is_not_dumpable_and_has_no_room_for_an_image() -> None:
    command = [sys.executable, "-c", _UNLIMITED + _FORBID + _TELL]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["0", "0"]


def test_nothing_is_written(tmp_path: Path) -> None:
    if resource.getrlimit(resource.RLIMIT_CORE)[1] == 0:
        pytest.skip("nobody's image is written here: there would be nothing to see")
    # Also with a limit that somebody has raised again: a pipe passes it over.
    assert not dumps(_FORBID + _UNLIMITED + _DIE, tmp_path)
    assert list(tmp_path.glob("*core*")) == []


def test_it_would_have_been(tmp_path: Path) -> None:
    """The control: the same program where it is not forbidden."""
    if not dumps(_UNLIMITED + _DIE, tmp_path):
        pytest.skip("this machine writes no images")


def test_a_limit_that_cannot_be_set_ends_nothing() -> None:
    """Where a sandbox forbids setrlimit(2) the daemon runs all the same."""
    program = (
        "import resource\n"
        "def refused(*_): raise OSError(1, 'Operation not permitted')\n"
        f"resource.setrlimit = refused\n{_FORBID}\n{_TELL}"
    )
    command = [sys.executable, "-c", program]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    assert told.stdout.split()[0] == "0"
