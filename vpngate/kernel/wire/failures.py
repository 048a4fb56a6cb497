# SPDX-License-Identifier: GPL-2.0-or-later
"""What can become of a task of the kernel's but its doing: as errors of one line.

Knows the kernel's refusals and lost answers, and what Python and pyroute2 raise; does
not know what was asked.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from pyroute2.netlink.exceptions import NetlinkError

from vpngate.errors import KernelRefused, MissingPrivilege, Problem


class Failure(NamedTuple):
    """Which change the kernel refused, and why."""

    what: str
    number: int
    text: str

    def __str__(self) -> str:
        reason = os.strerror(self.number)
        return f"{reason} ({self.text})" if self.text else reason


class Rejected(KernelRefused):
    """A transaction that failed as a whole; `failures` in the kernel's order."""

    def __init__(self, failures: Sequence[Failure]) -> None:
        self.failures = tuple(failures)
        first = self.failures[0]
        super().__init__(Problem(first.what, f"the kernel refused the change: {first}"))

    @property
    def number(self) -> int:
        """The first failure's errno."""
        return self.failures[0].number


class Unanswered(KernelRefused):
    """No answer came, so it is not known whether the change was made."""


@contextmanager
def in_one_line(wish: str) -> Iterator[None]:
    """Turn errors of sockets and pyroute2 into KernelRefused; `wish` names the task.

    A LookupError means that an object went away between two questions about it. Its
    key is not told: it may be a flow.
    """
    try:
        yield
    except PermissionError as error:
        raise privilege_missing() from error
    except OSError as error:
        raise unfulfilled(wish, error.strerror or error) from error
    except NetlinkError as error:
        raise unfulfilled(wish, error.args[-1]) from error
    except LookupError as error:
        reason = f"something is gone ({type(error).__name__})"
        raise unfulfilled(wish, reason) from error


def unfulfilled(wish: str, reason: object) -> KernelRefused:
    """The error of a task, named by `wish`, that came to nothing."""
    return KernelRefused(Problem("netlink socket", f"cannot {wish}: {reason}"))


def privilege_missing() -> MissingPrivilege:
    """The error of a process that may not change the network."""
    return MissingPrivilege(
        Problem(
            "nftables and traffic control",
            "may not be changed",
            "run it as root or give it CAP_NET_ADMIN",
        )
    )
