# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands as argparse has them: what each takes, and what it is for.

Knows argparse's own account of a parser; does not know how a page or a completion is
written.
"""

import argparse
import re
from collections.abc import Iterator
from dataclasses import dataclass

from vpngate.cli import COMMANDS, parser

# By their names in usage: what stands for a file, which a shell can complete.
_FILES = {"FILE", "PATH", "KEY", "CSV", "CAPTURE", "OLD", "NEW"}
_CHOICES = re.compile(r"\{([^}]*)\}")


@dataclass(frozen=True)
class Option:
    """What begins with a dash.

    value    what follows it, by its name in usage; empty if nothing does
    choices  what that may be, if there are so few
    """

    flags: tuple[str, ...]
    value: str
    choices: tuple[str, ...]
    about: str
    again: bool

    @property
    def is_file(self) -> bool:
        """Whether the value names a file."""
        return self.value in _FILES


@dataclass(frozen=True)
class Operand:
    """What is given without a dash; `many` of it, or one."""

    name: str
    about: str
    many: bool

    @property
    def is_file(self) -> bool:
        """Whether it names a file."""
        return self.name in _FILES


@dataclass(frozen=True)
class Command:
    """One command; the program itself has an empty name, and no operand."""

    name: str
    summary: str
    about: str
    usage: str
    options: tuple[Option, ...]
    operands: tuple[Operand, ...]


def program() -> Command:
    """What stands before a command."""
    return _command("", "", parser(()))


def commands() -> list[Command]:
    """All of them, in the order of `vpngate --help`."""
    above = parser(COMMANDS)
    (choice,) = (
        action
        for action in above._actions  # noqa: SLF001 - argparse has no other way
        if isinstance(action, argparse._SubParsersAction)  # noqa: SLF001
    )
    return [
        _command(name, summary, choice.choices[name])
        for name, summary in COMMANDS.items()
    ]


def _command(name: str, summary: str, one: argparse.ArgumentParser) -> Command:
    usage = one.format_usage().partition(":")[2]
    words = _CHOICES.sub(lambda one: one[1].replace(",", "|"), usage).split()
    return Command(
        name,
        summary,
        one.description or summary,
        " ".join(word for word in words if word != "[-h]"),
        tuple(_options(one)),
        tuple(_operands(one)),
    )


def _options(one: argparse.ArgumentParser) -> Iterator[Option]:
    for action in one._actions:  # noqa: SLF001
        if action.option_strings:
            takes = action.nargs != 0
            yield Option(
                # The long form first: that is the one to read.
                tuple(sorted(action.option_strings, key=len, reverse=True)),
                _metavar(action) if takes else "",
                tuple(map(str, action.choices or ())),
                _about(one, action),
                isinstance(action, argparse._AppendAction),  # noqa: SLF001
            )


def _operands(one: argparse.ArgumentParser) -> Iterator[Operand]:
    for action in one._actions:  # noqa: SLF001
        known = isinstance(action, argparse._SubParsersAction)  # noqa: SLF001
        if not (action.option_strings or known):
            many = action.nargs in ("+", "*")
            yield Operand(_metavar(action), _about(one, action), many)


def _metavar(action: argparse.Action) -> str:
    return str(action.metavar or "|".join(map(str, action.choices or [action.dest])))


def _about(one: argparse.ArgumentParser, action: argparse.Action) -> str:
    # What it says of defaults is put in by the formatter.
    said = one._get_formatter()._expand_help(action) if action.help else ""  # noqa: SLF001
    return said.replace("show this help message and exit", "say what there is, and end")
