# SPDX-License-Identifier: GPL-2.0-or-later
import socket
import time

import pytest

from vpngate.errors import FeedFault
from vpngate.feed.faults import Reason
from vpngate.feed.sources.deadline import Deadline


def test_cuts_who_drips() -> None:
    here, there = socket.socketpair()
    deadline = Deadline(0.1)
    with here, there, deadline.over(here):
        assert here.recv(10) == b""  # would wait for ever
        with pytest.raises(FeedFault, match=r"within 0\.1 s") as caught:
            deadline.check("there")
    assert caught.value.reason == Reason.TIMEOUT
    assert deadline.remaining == 0


def test_leaves_alone_who_is_done() -> None:
    here, there = socket.socketpair()
    deadline = Deadline(0.05)
    with here, there:
        with deadline.over(here):
            pass
        time.sleep(0.1)
        there.send(b"late")
        assert here.recv(10) == b"late"
        deadline._cut(here)  # the timer that fired while it was being stopped
        there.send(b"r")
        assert here.recv(10) == b"r"


def test_cancelled_before_and_during() -> None:
    here, there = socket.socketpair()
    deadline = Deadline(60)
    with here, there:
        with deadline.over(here):
            deadline.cancel()
            deadline.cancel()
            assert here.recv(10) == b""
        with pytest.raises(FeedFault) as caught:
            deadline.wait(60, "there")
        assert caught.value.reason == Reason.CANCELLED
    late, other = socket.socketpair()
    with late, other, deadline.over(late):
        assert late.recv(10) == b""


def test_other_side_was_faster() -> None:
    """A connection that is gone already is not an error when it is shut."""
    listener = socket.create_server(("127.0.0.1", 0))
    here = socket.create_connection(listener.getsockname())
    there, _ = listener.accept()
    deadline = Deadline(60)
    with listener, here, there, deadline.over(here):
        here.shutdown(socket.SHUT_RDWR)
        there.close()
        deadline.cancel()


def test_waits_no_longer_than_it_has() -> None:
    deadline = Deadline(0.05)
    begin = time.monotonic()
    with pytest.raises(FeedFault):
        deadline.wait(60, "there")
    assert time.monotonic() - begin < 10
    Deadline(60).wait(0.01, "there")
