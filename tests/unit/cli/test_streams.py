# SPDX-License-Identifier: GPL-2.0-or-later
"""Streams that are full, closed or of another alphabet; files that are none."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

_PATIENCE = 300.0  # seconds, of a machine that is busy


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    path = tmp_path / "r.csv"
    path.write_text("prefix,registration\n192.0.2.0/24,R-1\n")
    return path


def shell(line: str, *arguments: object, **environment: str) -> tuple[int, str, str]:
    """Status, stdout and stderr of `vpngate "$@"` with redirections behind it."""
    done = subprocess.run(
        ["sh", "-c", f'{sys.executable} -m vpngate "$@" {line}', "sh"]
        + [str(each) for each in arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=_PATIENCE,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("redirection", [">/dev/full", ">&-"])
@pytest.mark.parametrize("count", [1, 2000])
def test_an_answer_that_cannot_be_written_is_no_answer(
    registry: Path, redirection: str, count: int
) -> None:
    asked = ["192.0.2.1"] * count
    status, out, err = shell(redirection, "lookup", *asked, "--registry", registry)
    assert (status, out) == (2, "")
    assert err.startswith("vpngate: stdout: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("redirection", [">/dev/full", ">&-"])
@pytest.mark.parametrize("asked", [["--version"], ["--help"], ["lookup", "--help"]])
def test_help_that_cannot_be_written_is_no_help(
    redirection: str, asked: list[str]
) -> None:
    status, out, err = shell(redirection, *asked)
    assert (status, out) == (2, "")
    assert err.startswith("vpngate: stdout: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("redirection", ["2>/dev/full", "2>&-", "2>&- <&-"])
def test_a_complaint_that_cannot_be_written_changes_no_status(
    registry: Path, redirection: str
) -> None:
    good = ("lookup", "192.0.2.1", "--registry", registry)
    status, out, _ = shell(redirection, *good)
    assert (status, out.count("R-1")) == (0, 1)
    status, out, err = shell(redirection, "lookup", "x y", "--registry", registry)
    assert (status, out, err) == (2, "", "")


@pytest.mark.parametrize("locale", [{"LC_ALL": "C"}, {"PYTHONIOENCODING": "ascii"}])
def test_a_locale_of_ascii_alone(tmp_path: Path, locale: dict[str, str]) -> None:
    path = tmp_path / "b\u00fccher\x1b[2J.csv"
    path.write_text("prefix,registration\n192.0.2.0/24,R\u00fc\n192.0.2.0/25,R-1\n")
    asked = ("lookup", "192.0.2.1", "--registry", path)
    status, out, err = shell("", *asked, **locale)
    assert status == 0
    assert "R-1" in out
    assert "\x1b" not in err
    assert err.count("\n") == err.count("vpngate: ") == 1


@pytest.mark.parametrize("kind", ["fifo", "/dev/zero", "/dev/stdin", "folder", "\0"])
@pytest.mark.parametrize("command", ["lookup", "diff", "check"])
def test_what_is_no_file_is_one_line(tmp_path: Path, command: str, kind: str) -> None:
    path = tmp_path / "it"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "\0":
        pytest.skip("no argument holds it")
    else:
        path = Path(kind)
    arguments = {
        "lookup": ("lookup", "192.0.2.1", "--registry", path),
        "diff": ("diff", path, path),
        "check": ("check", "--config", path),
    }[command]
    status, out, err = shell("</dev/zero", *arguments)
    assert (status, out) == (2, "")
    assert err.count("\n") == 1


def bytes_read(pid: int) -> int:
    """What a process has read so far, its own modules included (proc(5), io)."""
    counts = Path(f"/proc/{pid}/io").read_text("ascii").split()
    return int(counts[counts.index("rchar:") + 1])


@pytest.mark.slow
def test_an_interrupt_ends_a_command_quietly(tmp_path: Path) -> None:
    """While it reads, or has just read, however fast the machine is.

    What is run in the background inherits that interrupts are ignored.
    """
    registry = tmp_path / "large.csv"
    rows = (f"10.{n >> 8 & 255}.{n & 255}.0/24,R-{n}\n" for n in range(1_000_000))
    registry.write_text("prefix,registration\n" + "".join(rows))
    size = registry.stat().st_size
    command = (sys.executable, "-m", "vpngate", "lookup", "10.0.0.1", "--registry")
    with subprocess.Popen(
        ["env", "--default-signal=INT", *command, registry],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        while bytes_read(process.pid) < size:
            assert process.poll() is None
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=_PATIENCE)
    assert (process.returncode, out, err) == (130, b"", b"")
