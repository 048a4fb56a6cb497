# SPDX-License-Identifier: GPL-2.0-or-later
"""`vpngate bundle`: what a bug report needs, in one text that can be read before.

Knows what belongs into it and where each part comes from; `printing/redaction.py` knows
what is left out. A part that cannot be had says why, and the others follow.
"""

import argparse
import contextlib
import importlib.metadata
import logging
import os
import platform
import re
import socket
import sys
import tomllib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vpngate import __version__
from vpngate.cli import inputs, options
from vpngate.cli.printing.named_rows import rows
from vpngate.cli.printing.redaction import Redaction, instead_of, of_own
from vpngate.config import examine_config, without_names
from vpngate.daemon.outside.client import DEFAULT_PATH as SOCKET_PATH
from vpngate.daemon.outside.client import request
from vpngate.errors import Problem, UnwritableOutput, VpngateError
from vpngate.plaintext import plain

if TYPE_CHECKING:
    from vpngate.cli import Subparsers

MODE = 0o600
PATIENCE = 30.0  # seconds
_HEAD = """\
vpngate bundle: for a bug report. Read it before you send it.
Left out: addresses (A, B, ... stand for them, the same letter for the same address),
and every text of the configuration that is not a word of vpngate's own.
"""
_DEFAULTS = {options.CONFIG_PATH, SOCKET_PATH}
_NAMES_INTERFACES = {"interfaces", "interfaces_left_alone"}
_SHORTEST_NAME = 4  # characters of a host's name that is looked for

_Part = Callable[[], Iterator[str]]


def add_parser(commands: "Subparsers") -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "bundle", help="for a bug report: what this gateway is and does, no address"
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="a new file (default: standard output)",
    )
    options.add_config(parser)
    options.add_socket(parser)


def run(args: argparse.Namespace) -> int:
    """Write it; UnwritableOutput if the file is there already, or cannot be made."""
    bundle = _Bundle(args)
    if args.output is None:
        for line in bundle.lines():
            print(line)
        return 0
    if os.path.lexists(args.output):
        raise UnwritableOutput(_is_there(args.output))
    text = "".join(f"{line}\n" for line in bundle.lines())
    _write(args.output, text.encode(errors="backslashreplace"))
    return 0


def _is_there(path: str) -> Problem:
    return Problem(path, "is there already", "choose another name")


def _write(path: str, content: bytes) -> None:
    """A file of its owner's, made anew; what cannot be written whole is removed."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, MODE)
    except FileExistsError:
        raise UnwritableOutput(_is_there(path)) from None
    except (OSError, ValueError) as error:
        what = f"cannot be made: {getattr(error, 'strerror', None) or error}"
        raise UnwritableOutput(Problem(path, what)) from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
    except OSError as error:
        with contextlib.suppress(OSError):
            Path(path).unlink()
        what = f"cannot be written: {error.strerror or error}"
        raise UnwritableOutput(Problem(path, what)) from None


class _Bundle:
    """The parts, in their order."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._config, self._socket = args.config, args.socket
        self._known = inputs.known_tunnels()
        self._redacted = Redaction(self._instead())

    def lines(self) -> Iterator[str]:
        """All of it, each line fit for strangers and for a terminal."""
        yield from _HEAD.splitlines()
        yield f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        parts: dict[str, _Part] = {
            "versions": _versions,
            "doctor": self._doctor,
            "status": self._status,
            "counters": self._counters,
            "configuration": self._configuration,
        }
        for name, part in parts.items():
            yield ""
            yield f"== {name}"
            try:
                for line in part():
                    yield plain(self._redacted(line), sys.maxsize)
            except VpngateError as error:
                for line in error.lines:
                    yield plain(self._redacted(f"none: {line}"))
            except Exception as error:  # noqa: BLE001 - what is broken is what it is for
                yield f"none: {type(error).__name__}"

    def _instead(self) -> dict[str, str]:
        """What is left out of every line, and what stands for it."""
        found: dict[str, str] = {}
        self._names_known = False
        with contextlib.suppress(VpngateError, ValueError, RecursionError):
            text = inputs.read_text(self._config)
            found = instead_of(tomllib.loads(text), self._known)
            examined = examine_config(
                text, where=self._config, known_tunnels=self._known
            )
            # A daemon has this one in force, or another that was sound.
            self._names_known = not examined.problems
        paths = {self._config: "<configuration>", self._socket: "<control socket>"}
        found |= {p: name for p, name in paths.items() if p not in _DEFAULTS}
        host = socket.gethostname()
        if len(host) >= _SHORTEST_NAME and host != "localhost":
            found.setdefault(host, "<host>")
        return found

    def _doctor(self) -> Iterator[str]:
        from vpngate.doctor.examination import examine
        from vpngate.doctor.findings import in_order

        # What the parts that are tried log is in the findings.
        logging.getLogger("vpngate").addHandler(logging.NullHandler())
        examined = examine_config(
            inputs.read_text(self._config),
            where=self._config,
            known_tunnels=self._known,
        )
        if examined.config is None:
            for problem in examined.problems:
                yield str(problem)
            return
        found = examine(examined, examined.config, self._config, self._socket)
        for finding in in_order(found):
            yield f"{finding.weight.value}  {finding.where}: {finding.text}"

    def _status(self) -> Iterator[str]:
        state: dict[str, Any] = request(self._socket, "status", timeout=PATIENCE)
        if not self._names_known:
            yield "the configuration is not sound, so that texts are left out here"
            state = {k: v for k, v in state.items() if k not in _NAMES_INTERFACES}
            state = of_own(state, self._known)
        yield from rows(self._redacted.everywhere(state))

    def _counters(self) -> Iterator[str]:
        told = request(self._socket, "counters", timeout=PATIENCE)
        yield from (line for line in told.splitlines() if not line.startswith("#"))

    def _configuration(self) -> Iterator[str]:
        text = inputs.read_text(self._config)
        examined = examine_config(text, where=self._config, known_tunnels=self._known)
        yield from map(str, examined.problems)
        if examined.config is not None:
            yield from without_names(examined.config, self._known)


def _versions() -> Iterator[str]:
    system = platform.freedesktop_os_release() if _has_release() else {}
    machine = os.uname()
    yield f"vpngate {__version__}"
    yield f"python {platform.python_version()}"
    yield f"kernel {machine.release} {machine.machine}"
    yield f"system {system.get('PRETTY_NAME', 'unknown')}"
    for requirement in importlib.metadata.requires("vpngate") or ():
        name = re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
        if "extra" in requirement:
            continue
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            yield f"{name} {importlib.metadata.version(name)}"


def _has_release() -> bool:
    return any(
        Path(path).is_file() for path in ("/etc/os-release", "/usr/lib/os-release")
    )
