# SPDX-License-Identifier: GPL-2.0-or-later
"""What a channel makes of the kernel's answers, with a socket that plays them."""

import errno
import socket
import struct
from collections import deque
from collections.abc import Callable
from typing import NoReturn

import pytest

from vpngate.errors import KernelRefused, MissingPrivilege
from vpngate.kernel.wire import attributes
from vpngate.kernel.wire.attributes import HEADER, message
from vpngate.kernel.wire.channel import NETFILTER, ROUTE, Change, Channel
from vpngate.kernel.wire.failures import Rejected, Unanswered

_GET_LINK = 18  # RTM_GETLINK of linux/rtnetlink.h
_LOOPBACK = struct.pack("=BxHiII", 0, 0, 1, 0, 0)  # struct ifinfomsg: index 1
CHANGE = Change(HEADER.pack(HEADER.size, 0x0A00, 1, 0, 0), "set s")


class Socket:
    """Answers each send with the datagrams that `kernel` makes of its sequences."""

    def __init__(self, kernel: Callable[[list[int]], list[bytes]]) -> None:
        self._kernel = kernel
        self._answers: deque[bytes] = deque()
        self._patient = True

    def setsockopt(self, _: int, option: int, value: int | bytes) -> None:
        if option == socket.SO_RCVTIMEO:
            assert isinstance(value, bytes)
            self._patient = not any(value)

    def bind(self, _: object) -> None: ...

    def send(self, data: bytes) -> None:
        numbers = [number for _, _, number, _ in attributes.each_message(data)]
        self._answers += self._kernel(numbers)

    def recv_into(self, buffer: memoryview, _size: int = 0, flags: int = 0) -> int:
        if not self._answers:
            assert flags or not self._patient, "this would wait for ever"
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        one = self._answers.popleft()
        buffer[: len(one)] = one
        return len(one)


def answer(number: int, sequence: int) -> bytes:
    """An acknowledgement, or an error."""
    body = struct.pack("=i", -number) + bytes(HEADER.size)
    return HEADER.pack(HEADER.size + len(body), 2, 0, sequence, 0) + body


def found(body: bytes, sequence: int) -> bytes:
    """An answer that is an object."""
    return HEADER.pack(HEADER.size + len(body), 36, 0, sequence, 0) + body


def channel(
    monkeypatch: pytest.MonkeyPatch, kernel: Callable[[list[int]], list[bytes]]
) -> Channel:
    monkeypatch.setattr(socket, "socket", lambda *_: Socket(kernel))
    return Channel(NETFILTER)


def test_a_machine_that_has_no_socket_left_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none_left(*_: object) -> NoReturn:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(socket, "socket", none_left)
    with pytest.raises(KernelRefused, match="open another one: Too many open files"):
        Channel(NETFILTER)


@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.ENOMEM])
def test_a_batch_refused_as_such_is_an_error(
    monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    one = channel(monkeypatch, lambda sent: [answer(number, sent[0])])
    with pytest.raises(Rejected, match="transaction") as caught:
        one.commit([CHANGE, CHANGE])
    assert caught.value.number == number


def test_a_batch_without_the_privilege(monkeypatch: pytest.MonkeyPatch) -> None:
    one = channel(monkeypatch, lambda sent: [answer(errno.EPERM, sent[0])])
    with pytest.raises(MissingPrivilege):
        one.commit([CHANGE])


def test_all_failures_of_a_batch_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    one = channel(
        monkeypatch,
        lambda sent: [answer(errno.ENOENT, n) for n in sent[1:-1]],
    )
    with pytest.raises(Rejected) as caught:
        one.commit([CHANGE, CHANGE])
    assert [f.what for f in caught.value.failures] == ["set s", "set s"]


def test_a_list_that_changes_each_time_is_not_passed_as_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(sent: list[int]) -> list[bytes]:
        return [HEADER.pack(HEADER.size, 3, 0x10, sent[0], 0)]

    with pytest.raises(KernelRefused, match="it changed each time"):
        channel(monkeypatch, interrupted).dump(CHANGE.data)


def test_a_kernel_that_does_not_answer_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = channel(monkeypatch, lambda _: [])
    with pytest.raises(Unanswered, match="take in the kernel's answer: none came"):
        one.commit([CHANGE])


def test_one_object_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def there(sent: list[int]) -> list[bytes]:
        return [found(b"body", sent[0]), answer(0, sent[0])]

    assert channel(monkeypatch, there).ask_for_one(CHANGE.data) == b"body"


@pytest.mark.parametrize("number", [0, errno.ENOENT, errno.ENODEV])
def test_one_object_is_not_there_or_nothing_is_said_of_it(
    monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    one = channel(monkeypatch, lambda sent: [answer(number, sent[0])])
    assert one.ask_for_one(CHANGE.data) is None


def test_one_object_cannot_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    one = channel(monkeypatch, lambda sent: [answer(errno.ENOMEM, sent[0])])
    with pytest.raises(Rejected):
        one.ask_for_one(CHANGE.data)


@pytest.mark.parametrize(("many", "order"), [(1, 1), (1, -1), (4, 1), (4, -1)], ids=str)
def test_each_answer_belongs_to_its_question(
    monkeypatch: pytest.MonkeyPatch, many: int, order: int
) -> None:
    """In any order, several in a datagram, and some to what somebody else asked."""

    def kernel(sent: list[int]) -> list[bytes]:
        foreign = [found(b"else", sent[0] - 1), answer(errno.ENOMEM, sent[-1] + 99)]
        own = [
            answer(errno.ENOENT, n) if n % 3 == 0 else found(b"%04d" % n, n)
            for n in sent
        ]
        each = [*foreign, *own][::order]
        return [
            b"".join(each[start : start + many]) for start in range(0, len(each), many)
        ]

    one = channel(monkeypatch, kernel)
    for first in (1, 11):
        expected = [
            None if n % 3 == 0 else b"%04d" % n for n in range(first, first + 10)
        ]
        assert one.ask([CHANGE.data] * 10) == expected


@pytest.mark.parametrize("left", [0, 1, 9, 10, 11])
def test_numbers_begin_anew_before_they_are_too_large(
    monkeypatch: pytest.MonkeyPatch, left: int
) -> None:
    one = channel(monkeypatch, lambda sent: [found(b"body", n) for n in sent])
    one._sequence = (1 << 32) - left
    for _ in range(3):
        assert one.ask([CHANGE.data] * 10) == [b"body"] * 10


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOMEM, errno.EINTR])
def test_one_refused_question_of_many_is_told(
    monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def kernel(sent: list[int]) -> list[bytes]:
        *most, last = sent
        return [*(found(b"body", n) for n in most), answer(number, last)]

    with pytest.raises(Rejected) as caught:
        channel(monkeypatch, kernel).ask([CHANGE.data] * 10)
    assert caught.value.number == number


@pytest.mark.parametrize("spoilt", [b"", b"\xff" * 16, b"\0" * 16], ids=repr)
def test_one_question_of_many_without_an_answer_is_told(
    monkeypatch: pytest.MonkeyPatch, spoilt: bytes
) -> None:
    def kernel(sent: list[int]) -> list[bytes]:
        return [*(found(b"body", n) for n in sent[1:]), spoilt]

    with pytest.raises(Unanswered, match="none came"):
        channel(monkeypatch, kernel).ask([CHANGE.data] * 10)


def test_after_an_answer_that_had_no_room_the_next_one_comes() -> None:
    """What is left of the first question keeps the kernel from answering the next."""
    request = message(_GET_LINK, 0, _LOOPBACK)
    one = Channel(ROUTE)
    try:
        one._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 0)  # the least
        with pytest.raises(Unanswered, match="No buffer space"):
            one.ask([request] * 50)
        one._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 17)
        assert one.ask([request]) != [None]
    finally:
        one.close()
