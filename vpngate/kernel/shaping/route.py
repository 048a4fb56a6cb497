# SPDX-License-Identifier: GPL-2.0-or-later
"""Interfaces and queues, made one at a time through pyroute2.

Knows that its socket is good for nothing any more once an answer got lost (no room:
ENOBUFS), and takes another one then; does not know what is made.
"""

from typing import Any

from pyroute2 import IPRoute

from vpngate.errors import Problem
from vpngate.kernel.wire.failures import Unanswered


class Route:
    """What is asked of pyroute2's IPRoute. One thread alone may use it.

    Raises what that raises, NetlinkError for what the kernel refuses; Unanswered where
    an answer got lost. The next question is asked by a new socket then.
    """

    def __init__(self) -> None:
        self._open: IPRoute | None = IPRoute()

    def close(self) -> None:
        """Close the socket, if there is one."""
        gone, self._open = self._open, None
        if gone is not None:
            gone.close()

    def link(self, command: str, **what: Any) -> None:
        """Add, change or delete an interface."""
        self._ask("link", command, **what)

    def link_lookup(self, *, ifname: str) -> list[int]:
        """The index of the interface of a name; none if there is none."""
        return list(self._ask("link_lookup", ifname=ifname))

    def tc(self, command: str, *what: Any, **options: Any) -> None:
        """Add or delete a queueing discipline, a class or a filter."""
        self._ask("tc", command, *what, **options)

    def _ask(self, method: str, *what: Any, **options: Any) -> Any:
        if self._open is None:
            self._open = IPRoute()
        core = self._open.asyncore
        try:
            return getattr(self._open, method)(*what, **options)
        finally:
            # It may answer as if there were nothing, and never answers again.
            lost: OSError | None = core.status.get("error")
            if lost is not None:
                # Else closing it raises that once more, and leaves the socket open.
                core._error_event.clear()  # noqa: SLF001
                self.close()
                what_failed = f"cannot take in the kernel's answer: {lost.strerror}"
                raise Unanswered(Problem("netlink socket", what_failed))
