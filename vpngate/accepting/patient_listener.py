# SPDX-License-Identifier: GPL-2.0-or-later
"""A listening socket for asyncio, where descriptors or memory may be short.

Knows that asyncio tells of such a failure, tries the next connection all the same, and
plans another look in a second for each: thousands of lines a second, and ever more.
Does not know who calls.
"""

import errno
import socket
import time

_SHORT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_PAUSE = 0.5  # seconds: asyncio looks again after one


class PatientListener(socket.socket):
    """Fails to accept once, and then has nobody waiting until asyncio looks again."""

    _not_before = 0.0

    def accept(self) -> tuple[socket.socket, object]:
        """The next connection; BlockingIOError where none waits, or is to be had."""
        if time.monotonic() < self._not_before:
            raise BlockingIOError(errno.EAGAIN, "not yet again")
        try:
            return super().accept()
        except OSError as error:
            if error.errno in _SHORT:
                self._not_before = time.monotonic() + _PAUSE
            raise
