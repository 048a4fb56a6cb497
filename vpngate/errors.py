# SPDX-License-Identifier: GPL-2.0-or-later
"""What can go wrong, and whose turn it is.

Knows the kinds of failure, their one-line form and their exit status; does not
know where they are raised or how they are printed.

    VpngateError
    ├── InvalidInput            the content is wrong: its author has to mend it     1
    │   ├── InvalidConfig
    │   └── InvalidRegistry
    ├── Refused                 the content is fine, the answer is still no         1
    │   ├── RegistryRefused     the guard wants a person's word first
    │   ├── TableTaken          another daemon holds the table
    │   └── GroupTaken          another process reads the NFLOG group
    ├── MachineFault            this machine lacks something or broke it            1
    │   ├── MissingPrivilege
    │   ├── MissingInterface
    │   ├── MissingFeature      a kernel or library feature
    │   └── KernelRefused       the kernel answered a change with an error
    ├── UnreadableInput         a file is missing, unreadable or not what it claims 2
    │   └── DamagedCapture      readable up to a point; what came before it counts
    ├── UnwritableOutput        there is nowhere to write the answer to             2
    ├── FeedFault               a registry source did not deliver                   1
    ├── WrongUse                the command line asks for the impossible            2
    └── DaemonUnreachable       no daemon answers on the control socket             2
        └── DaemonBusy          one does, and has no room for the question          2
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from vpngate.plaintext import LONGEST, plain

_LONGEST_LINE = 3 * LONGEST + 100  # of a problem's three parts


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with an input: where it stands, what is wrong, what to do.

    Any part of it may quote what comes from outside: as text it is one plain line.
    """

    where: str
    what: str
    remedy: str = ""

    def __str__(self) -> str:
        line = f"{plain(self.where)}: {plain(self.what)}"
        return f"{line}; {plain(self.remedy)}" if self.remedy else line


class VpngateError(Exception):
    """Base of everything vpngate raises on purpose.

    Its text is one line a problem: what, where, what to do. `exit_status` is what
    a command ends with.
    """

    exit_status: int = 1

    def __init__(self, *problems: Problem | str) -> None:
        lines = [line for each in problems for line in str(each).split("\n")]
        super().__init__("\n".join(plain(line, _LONGEST_LINE) for line in lines))

    @property
    def lines(self) -> list[str]:
        """The problems, each one line."""
        return str(self).split("\n")

    def alone(self) -> Self:
        """The error without the frames that it has passed, for whoever keeps it.

        They hold whatever was at work, often the error, too: a circle then, which
        takes a collector to find.
        """
        self.__traceback__ = self.__context__ = self.__cause__ = None
        return self


class InvalidInput(VpngateError):
    """Content that its author has to mend; holds every problem, not the first."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(*self.problems)


class InvalidConfig(InvalidInput):
    """A configuration that cannot be used."""


class InvalidRegistry(InvalidInput):
    """A registry that cannot be used."""


class Refused(VpngateError):
    """Well-formed, understood, and still no."""


class RegistryRefused(Refused):
    """The guard's no to a registry; `reason` is a metric label."""

    def __init__(self, reason: str, problem: Problem | str) -> None:
        self.reason = reason
        super().__init__(problem)


class TableTaken(Refused):
    """Another process owns the nftables table."""


class GroupTaken(Refused):
    """Another process reads the NFLOG group."""


class MachineFault(VpngateError):
    """The machine lacks something that vpngate needs, or broke it."""


class MissingPrivilege(MachineFault):
    """A capability is missing."""


class MissingInterface(MachineFault):
    """A network interface named by the configuration does not exist."""


class MissingFeature(MachineFault):
    """The kernel or a shared library lacks a feature."""


class KernelRefused(MachineFault):
    """The kernel answered a change with an error."""


class UnreadableInput(VpngateError):
    """A file that is missing, unreadable, or not of the kind it should be."""

    exit_status = 2


class DamagedCapture(UnreadableInput):
    """A capture file that ends or breaks early; what came before it counts."""


class UnwritableOutput(VpngateError):
    """The answer is there, and cannot be written."""

    exit_status = 2


class FeedFault(VpngateError):
    """A registry source that did not deliver; `reason` is a metric label."""

    def __init__(self, reason: str, problem: Problem | str) -> None:
        self.reason = reason
        super().__init__(problem)


class WrongUse(VpngateError):
    """A command line that asks for the impossible."""

    exit_status = 2


class DaemonUnreachable(VpngateError):
    """Nobody answers on the control socket."""

    exit_status = 2


class DaemonBusy(DaemonUnreachable):
    """A daemon is there, and has as many callers as it takes."""


def no_memory(where: str) -> MachineFault:
    """What a MemoryError comes to: no content is wrong, and the next try may do."""
    remedy = "allow more (ulimit -v, MemoryMax), or see what else needs it"
    return MachineFault(Problem(where, "memory does not suffice for it", remedy))
