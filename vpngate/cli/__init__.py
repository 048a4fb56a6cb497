# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line: which commands there are, and how each of them ends.

Knows the commands by name (one module each, imported only when asked for: a slow
start is felt at each use), and turns every failure into one line a problem on
stderr and an exit status; does not know what a command does.

A command's module has `add_parser(subparsers)` and `run(args) -> exit status`.
"""

import argparse
import atexit
import contextlib
import errno
import gc
import io
import os
import signal
import sys
from collections.abc import Collection, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeGuard

from vpngate import __version__
from vpngate.errors import Problem, UnwritableOutput, VpngateError, no_memory
from vpngate.plaintext import plain

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001

COMMANDS = {
    "run": "the daemon, in the foreground",
    "check": "validate configuration and registry; touches nothing",
    "doctor": "this machine: what vpngate needs, what stands in its way",
    "classify": "what vpngate would do with a capture",
    "lookup": "whether an address is registered",
    "expiring": "registrations that end or leave their grace, by day",
    "diff": "what changed between two registries",
    "status": "the running daemon: mode, registry, flows, health",
    "report": "the transparency report: classes, limits, counts",
    "preview": "what enforcing, or another registry, would do to the flows of now",
    "reload": "have the running daemon reload",
    "enforce": "have the running daemon act on verdicts",
    "confirm": "say that what waits to be confirmed is well",
    "observe": "have the running daemon slow nobody, at once",
    "clear": "remove what a daemon that was killed left in the kernel",
    "bundle": "for a bug report: what this gateway is and does, no address",
    "publish": "for who keeps a registry: make, sign and replace it",
}
# In which room of its own a command is, where it is in one.
_ROOMS = dict.fromkeys(("enforce", "confirm", "observe"), "steering.")
_MODULES = {"report": "transparency_report"}  # where it has another name

DONE, NO, WRONG_USE = 0, 1, 2
_UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF}
_COLLECTED_AT_ONCE = 100_000  # objects; a daemon sets its own (`daemon/garbage.py`)
_LONGEST_LINE = 4000  # characters of a complaint
DEBUG_VARIABLE = "VPNGATE_DEBUG"


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are one line."""

    def error(self, message: str) -> NoReturn:
        """End with status 2 and say where help is."""
        complain(f"{message}; see {self.prog} --help")
        self.exit(WRONG_USE)

    def _print_message(self, message: str, file: Any = None) -> None:
        """Help or the version: an answer like any other, where argparse drops errors.

        Raises what writing raises.
        """
        if message:
            (file or sys.stderr).write(message)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that `arguments` (by default the process's) ask for.

    Returns the exit status: 0 done, 1 the answer is no, 2 wrong use, unreadable
    input or no daemon; 128 + the signal's number where a signal ended it.
    """
    # As it is loaded numpy begins a thread for each further core, to multiply matrices.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    _collect_seldom()
    return _ended(sys.argv[1:] if arguments is None else arguments)


def _ended(words: Sequence[str]) -> int:
    try:
        closed = _open_streams()
        args = _parsed(words, closed=closed)
        _insist_on_output(closed=closed and args.command != "run")
        status: int = _module(args.command).run(args)
        sys.stdout.flush()
    except VpngateError as error:
        complain(*error.lines)
        return error.exit_status
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # The reader has left (`| head`); what is still buffered has nowhere to go.
        _drop_output()
        return 128 + signal.SIGPIPE
    except Exception as error:
        if os.environ.get(DEBUG_VARIABLE) and not _is_unwritable(error):
            raise  # with its frames
        return _unforeseen(error, words[0] if words else "vpngate")
    return status


def _is_unwritable(error: Exception) -> TypeGuard[OSError]:
    return isinstance(error, OSError) and error.errno in _UNWRITABLE


def _unforeseen(error: Exception, command: str) -> int:
    """Say in one line what nobody caught; returns the exit status."""
    if _is_unwritable(error):
        complain(f"stdout: cannot be written: {error.strerror or error}")
        _drop_output()
        return WRONG_USE
    cause = _innermost(error)
    if isinstance(cause, MemoryError):
        complain(*no_memory(command).lines)
    else:
        complain(
            f"this should not have happened: {type(cause).__name__}: {cause}"
            f"; set {DEBUG_VARIABLE}=1 to see where, and report it"
        )
    return NO


def _collect_seldom() -> None:
    """Have Python look for circles of garbage seldom: what is loaded first stays.

    From now on: were it as before when a command has ended, Python would begin with
    going through all that it loaded.
    """
    gc.set_threshold(_COLLECTED_AT_ONCE, *gc.get_threshold()[1:])
    atexit.register(gc.freeze)  # what ends with the process need not be gone through


def _module(name: str) -> Any:
    return import_module(
        f"vpngate.cli.{_ROOMS.get(name, '')}{_MODULES.get(name, name)}"
    )


def _parsed(words: Sequence[str], *, closed: bool) -> argparse.Namespace:
    try:
        asked = next((word for word in words if not word.startswith("-")), "")
        return parser((asked,)).parse_args(words)
    except SystemExit as end:
        if not end.code:  # help or the version: an answer like any other
            _insist_on_output(closed=closed)
            sys.stdout.flush()
        raise


def complain(*lines: str) -> None:
    """Say on stderr what is wrong, each line behind the program's name."""
    with contextlib.suppress(OSError):  # full or gone: the status says it, too
        for line in lines:
            text = plain(" ".join(line.split()), _LONGEST_LINE)
            print(f"vpngate: {text}", file=sys.stderr)


def _open_streams() -> bool:
    """Have all three streams be something; whether stdout was closed.

    What is opened next would otherwise take their numbers, and be written to.
    """
    closed = sys.stdout is None
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    if closed:
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 - as long as we live
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a locale of ASCII alone
    return closed


def _insist_on_output(*, closed: bool) -> None:
    if closed:
        raise UnwritableOutput(Problem("stdout", "is closed", "redirect it somewhere"))


def _innermost(error: BaseException) -> BaseException:
    """What a group of errors is about: the first in it, which may be a group itself."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _drop_output() -> None:
    """What is still buffered has nowhere to go, and nothing to say at the exit."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def parser(whole: Collection[str]) -> Parser:
    """The parser of all commands, those in `whole` with what they take.

    The others have their name and summary, and nobody asks them for help: what they
    import is spared.
    """
    above = Parser(
        prog="vpngate",
        description="Slows unregistered VPN tunnels on a Linux gateway.",
    )
    above.add_argument("--version", action="version", version=f"vpngate {__version__}")
    commands = above.add_subparsers(
        dest="command", metavar="COMMAND", required=True, parser_class=Parser
    )
    for name, summary in COMMANDS.items():
        if name in whole:
            _module(name).add_parser(commands)
        else:
            commands.add_parser(name, help=summary, add_help=False)
    return above
