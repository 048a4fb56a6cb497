# SPDX-License-Identifier: GPL-2.0-or-later
"""An answer of the kernel's that got lost, and what is asked after it."""

import socket
from contextlib import closing
from pathlib import Path

import pytest

from vpngate.kernel.shaping.route import Route
from vpngate.kernel.wire.failures import Unanswered


def _open() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_after_an_answer_that_had_no_room_the_next_one_comes() -> None:
    """By another socket; nothing is left of the first."""
    before = _open()
    with closing(Route()) as route:
        assert route.link_lookup(ifname="lo") == [1]
        assert route._open is not None
        with socket.socket(fileno=route._open.fileno()) as same:
            same.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 0)  # the least
            same.detach()
        with pytest.raises(Unanswered, match="No buffer space"):
            route.link_lookup(ifname="lo")
        assert route.link_lookup(ifname="lo") == [1]
    assert _open() == before
