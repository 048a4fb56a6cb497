# SPDX-License-Identifier: GPL-2.0-or-later
"""Telling the service manager how we are: sd_notify(3), without its library.

Knows the protocol's datagrams and variables; does not know when to send which.
Without a service manager every message goes nowhere, silently.
"""

import asyncio
import os
import socket
import time
from collections.abc import Awaitable, Callable, Mapping

# Seconds: how often more time is asked for, how much from then on, and in all.
_ASK_EVERY, _MORE, _PATIENCE = 5.0, 20.0, 300.0


class ServiceManager:
    """The service manager that started us, if one did."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        # A leading @ stands for the NUL of the abstract namespace (unix(7)).
        self._address = "\0" + address[1:] if address[:1] == "@" else address
        self._watchdog = _watchdog_time(environment)

    @property
    def watchdog(self) -> float | None:
        """Seconds within which `alive` has to be sent; None if nobody waits."""
        return self._watchdog

    def ready(self, status: str = "") -> None:
        """Start-up, or a reload, is complete."""
        self._send("READY=1", *_status(status))

    def reloading(self) -> None:
        """A reload begins; `ready` ends it (the time is for Type=notify-reload)."""
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send("RELOADING=1", f"MONOTONIC_USEC={now}")

    def stopping(self) -> None:
        """An orderly stop begins."""
        self._send("STOPPING=1")

    async def give_time(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do it, with more time for as long as it goes on, and at most _PATIENCE."""
        asking = asyncio.create_task(self._ask_for_time())
        try:
            await work()
        finally:
            asking.cancel()

    async def _ask_for_time(self) -> None:
        for _ in range(int(_PATIENCE / _ASK_EVERY)):
            self._send(f"EXTEND_TIMEOUT_USEC={int(_MORE * 1e6)}")
            await asyncio.sleep(_ASK_EVERY)

    def alive(self) -> None:
        """The watchdog may wait again."""
        self._send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send(*_status(text))

    def _send(self, *assignments: str) -> None:
        if not self._address or not assignments:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            # A manager that cannot keep up must not stop us.
            sender.setblocking(False)
            try:
                sender.sendto("\n".join(assignments).encode(), self._address)
            except OSError:
                return


def _status(text: str) -> list[str]:
    return [f"STATUS={' '.join(text.split())}"] if text else []


def _watchdog_time(environment: Mapping[str, str]) -> float | None:
    """WATCHDOG_USEC in seconds, if it is meant for us (sd_watchdog_enabled(3))."""
    microseconds = environment.get("WATCHDOG_USEC", "")
    meant_for = environment.get("WATCHDOG_PID", str(os.getpid()))
    if not microseconds.isdigit() or meant_for != str(os.getpid()):
        return None
    return int(microseconds) / 1e6 or None
