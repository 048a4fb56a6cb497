# SPDX-License-Identifier: GPL-2.0-or-later
"""How commands end: their status, and nothing but single lines on stderr."""

import os
import signal
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest

from vpngate import __version__, cli
from vpngate.cli import COMMANDS, main
from vpngate.errors import InvalidConfig, Problem, UnreadableInput


def command(monkeypatch: pytest.MonkeyPatch, outcome: object) -> None:
    """Have `vpngate status` end with `outcome`: a status, or an exception."""

    def run(_args: Namespace) -> int:
        if isinstance(outcome, BaseException):
            raise outcome
        assert isinstance(outcome, int)
        return outcome

    module = ModuleType("vpngate.cli.status")
    module.add_parser = lambda commands: commands.add_parser("status")  # type: ignore[attr-defined]
    module.run = run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "vpngate.cli.status", module)


def ends(arguments: list[str]) -> int:
    """The exit status of a command line that argparse ends."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert isinstance(caught.value.code, int)
    return caught.value.code


@pytest.mark.parametrize("status", [0, 1, 2])
def test_a_commands_status_is_the_programs(
    monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    command(monkeypatch, status)
    assert main(["status"]) == status


def test_a_failure_is_a_line_a_problem(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    problems = [Problem("a.toml: x", "is odd", "mend it"), Problem("b", "is\neven")]
    command(monkeypatch, InvalidConfig(problems))
    assert main(["status"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "vpngate: a.toml: x: is odd; mend it",
        "vpngate: b: is\\neven",
    ]


def test_unreadable_input_is_2(monkeypatch: pytest.MonkeyPatch) -> None:
    command(monkeypatch, UnreadableInput("x"))
    assert main(["status"]) == 2


_LOADED = """
import contextlib, re
from pathlib import Path
from vpngate.cli import main
with contextlib.suppress(SystemExit):
    main(["--version"])
import numpy
print(re.search("Threads:.*", Path("/proc/self/status").read_text()).group())
"""


def test_a_command_has_one_thread_however_many_cores_there_are() -> None:
    environment = {"PATH": os.environ["PATH"]}
    done = subprocess.run(
        [sys.executable, "-c", _LOADED],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1].split() == ["Threads:", "1"]


def test_an_interrupt_is_quiet(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command(monkeypatch, KeyboardInterrupt())
    assert main(["status"]) == 128 + signal.SIGINT
    assert capsys.readouterr() == ("", "")


def test_the_unexpected_is_one_line_and_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(cli.DEBUG_VARIABLE, raising=False)
    command(monkeypatch, ZeroDivisionError("by\nnought"))
    assert main(["status"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        "vpngate: this should not have happened: ZeroDivisionError: by nought;"
        " set VPNGATE_DEBUG=1 to see where, and report it"
    )


def test_of_what_the_daemon_did_at_once_the_first_error_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(cli.DEBUG_VARIABLE, raising=False)
    inner = ExceptionGroup("tasks", [KeyError("no room"), OSError("beside it")])
    command(monkeypatch, ExceptionGroup("tasks", [inner]))
    assert main(["status"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "this should not have happened: KeyError: 'no room';" in line


def test_too_little_memory_is_nobodys_mistake(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(cli.DEBUG_VARIABLE, raising=False)
    command(monkeypatch, ExceptionGroup("tasks", [MemoryError("no room")]))
    assert main(["status"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        "vpngate: status: memory does not suffice for it; allow more"
    )


def test_its_traceback_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cli.DEBUG_VARIABLE, "1")
    command(monkeypatch, ZeroDivisionError("by nought"))
    with pytest.raises(ZeroDivisionError):
        main(["status"])


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "the following arguments are required: COMMAND; see vpngate --help"),
        (["dance"], "argument COMMAND: invalid choice: 'dance'"),
        (["status", "--format", "xml"], "argument --format: invalid choice: 'xml'"),
        (["lookup"], "required: ADDRESS|PREFIX|ID; see vpngate lookup --help"),
        (["reload", "now"], "unrecognized arguments: now; see vpngate --help"),
        (
            ["reload", "\x1b[2J\u202e", "a\nb"],
            r"unrecognized arguments: \x1b[2J\u202e a b; see vpngate --help",
        ),
    ],
)
def test_wrong_use_is_one_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], line: str
) -> None:
    assert ends(arguments) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("vpngate: ")
    assert line in err


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert ends(["--version"]) == 0
    assert capsys.readouterr().out == f"vpngate {__version__}\n"
    assert ends(["--help"]) == 0
    text = capsys.readouterr().out
    for name, summary in COMMANDS.items():
        assert name in text
        assert summary.split(",")[0][:40] in " ".join(text.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(
    capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert ends([name, "--help"]) == 0
    assert capsys.readouterr().out.startswith(f"usage: vpngate {name}")


def vpngate(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "vpngate", *arguments]


def test_a_reader_who_leaves_is_no_error(tmp_path: Path) -> None:
    registry = tmp_path / "r.csv"
    registry.write_text("prefix,registration\n192.0.2.0/24,R-1\n")
    many = ["192.0.2.7"] * 5000
    process = subprocess.Popen(
        vpngate("lookup", *many, "--registry", str(registry), "--format", "json"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 128 + signal.SIGPIPE


@pytest.mark.parametrize(
    "command",
    [
        ("check", "--config", "config/vpngate.toml"),
        ("lookup", "192.0.2.1", "--registry", "config/registry.csv"),
        ("diff", "config/registry.csv", "config/registry.csv"),
        ("status", "--socket", "/nonexistent"),
        ("expiring", "--registry", "config/registry.csv"),
        ("report", "--socket", "/nonexistent"),
        ("reload", "--socket", "/nonexistent"),
        ("run", "--help"),
    ],
    ids=lambda command: command[0],
)
def test_only_what_reads_packets_loads_scapy(command: Sequence[str]) -> None:
    program = (
        "import sys; from vpngate.cli import main\n"
        f"try: main({list(command)})\n"
        "except SystemExit: pass\n"
        "print('scapy' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[3],
    )
    assert done.stderr.split("\n")[-2] == "False"


def test_a_command_imports_only_what_it_needs() -> None:
    program = (
        "import sys; from vpngate.cli import main\n"
        "main(['status', '--socket', '/nonexistent'])\n"
        "print(*(m for m in ('scapy', 'numpy', 'pydantic', 'pyroute2', 'asyncio')"
        " if m in sys.modules))"
    )
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "\n"
    assert time.monotonic() - started < 10
