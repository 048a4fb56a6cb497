# SPDX-License-Identifier: GPL-2.0-or-later
"""A netlink socket for bulk: many messages in one send, one answer read back.

Knows acknowledgements with their extended text, dumps, and the batch that nftables
takes as one transaction; does not know any message's content.
pyroute2's own sockets acknowledge and wait for each message; a million elements
need this instead.
"""

import errno
import socket
import struct
import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from vpngate.kernel.wire.attributes import (
    ACK,
    HEADER,
    attributes,
    each_message,
    message,
    text,
)
from vpngate.kernel.wire.failures import (
    Failure,
    Rejected,
    Unanswered,
    in_one_line,
    privilege_missing,
    unfulfilled,
)
from vpngate.kernel.wire.nft import FAMILY_HEADER, SUBSYSTEM

ROUTE, NETFILTER = 0, 12  # NETLINK_*: the two protocols we speak

_ERROR, _DONE = 2, 3  # NLMSG_*
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11  # NFNL_MSG_*

_SO_SNDBUFFORCE, _SO_RCVBUFFORCE = 32, 33
# Of a message's header: its flags, and its number behind them.
_FLAGS_AT, _FLAGS, _NUMBERED = 6, struct.Struct("=H"), struct.Struct("=HI")
_NUMBERS = 1 << 32  # a number has 32 bits: at 1,000 a second, those of seven weeks
_TIME = struct.Struct("@ll")  # struct timeval: seconds, microseconds
_SOL_NETLINK, _CAP_ACK, _EXT_ACK = 270, 10, 11
_CAPPED, _ACK_TLVS, _INTERRUPTED = 0x100, 0x200, 0x10
_MESSAGE_TEXT = 1  # NLMSGERR_ATTR_MSG
_RECEIVE_BUFFER = 16 << 20
_RECEIVE = 1 << 20
_PATIENCE = 1  # second: the kernel answers as it takes a message in, or never
_THERE_IS_NONE = frozenset({errno.ENOENT, errno.ENODEV, errno.EINVAL})
_WHOLE = "transaction"  # what a failure of the batch itself is about


class Change(NamedTuple):
    """One message, not numbered yet, and what it does, for an error to say."""

    data: bytes
    what: str


class Channel:
    """One netlink socket, for one thread.

    protocol is NETFILTER or ROUTE. Closing the channel ends the
    table that was created through it.
    """

    def __init__(self, protocol: int) -> None:
        with in_one_line("open another one"):
            self._socket = socket.socket(
                socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol
            )
        self._sequence = 1  # of the next message
        for option in (_CAP_ACK, _EXT_ACK):
            self._socket.setsockopt(_SOL_NETLINK, option, 1)
        self._enlarge(_SO_RCVBUFFORCE, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        self._socket.bind((0, 0))
        # The kernel's own timeout: with Python's each receipt is two system calls.
        patience = _TIME.pack(_PATIENCE, 0)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, patience)
        self._received = memoryview(bytearray(_RECEIVE))

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def commit(self, changes: Sequence[Change]) -> None:
        """Apply nftables changes as one transaction; Rejected if any failed."""
        if not changes:
            return
        edge = FAMILY_HEADER.pack(0, 0, SUBSYSTEM >> 8)
        begin, end = (message(one, 0, edge) for one in (_BATCH_BEGIN, _BATCH_END))
        whole = [Change(begin, _WHOLE), *changes, Change(end, _WHOLE)]
        last = len(whole) - 2
        self._send_all(whole, acknowledged={last}, last=last)

    def each(self, changes: Sequence[Change]) -> list[Failure]:
        """Apply changes one by one, in one send; returns those that failed."""
        try:
            if changes:
                every = set(range(len(changes)))
                self._send_all(changes, every, len(changes) - 1)
        except Rejected as error:
            return list(error.failures)
        return []

    def ask(self, requests: Sequence[bytes]) -> list[bytes | None]:
        """The answer to each request for one object; None where there is none."""
        if not requests:
            return []
        number = len(requests)
        first = self._send([(data, 0) for data in requests])
        answers: list[bytes | None] = [None] * number
        seen = 0
        while seen < number:
            for kind, _, sequence, body in self._receive():
                index = sequence - first
                if not 0 <= index < number:
                    continue
                seen += 1
                if kind == _ERROR:
                    refused = _errno(body)
                    if refused not in _THERE_IS_NONE:
                        raise Rejected([Failure("request", refused, "")])
                else:
                    answers[index] = bytes(body)
        return answers

    def ask_for_one(self, request: bytes) -> bytes | None:
        """Does what `ask` does for one request that the kernel may leave unanswered."""
        first = self._send([(request, ACK)])
        found = None
        while True:
            for kind, _, sequence, body in self._receive():
                if sequence != first:
                    continue
                if kind != _ERROR:
                    found = bytes(body)
                elif (number := _errno(body)) in _THERE_IS_NONE or not number:
                    return found
                else:
                    raise Rejected([Failure("request", number, "")])

    def dump(self, request: bytes) -> list[bytes]:
        """All objects that a request names; asks again if they changed meanwhile."""
        for _ in range(5):
            answers, whole = self._dump(request)
            if whole:
                return answers
        raise unfulfilled("read a list", "it changed each time while it was read")

    def _dump(self, request: bytes) -> tuple[list[bytes], bool]:
        first = self._send([(request, 0)])
        answers: list[bytes] = []
        whole = True
        while True:
            for kind, flags, sequence, body in self._receive():
                if sequence != first:
                    continue
                whole &= not flags & _INTERRUPTED
                if kind == _ERROR:
                    number = _errno(body)
                    raise Rejected([Failure("dump", number, "")])
                if kind == _DONE:
                    return answers, whole
                answers.append(bytes(body))

    def _send_all(
        self, changes: Sequence[Change], acknowledged: set[int], last: int
    ) -> None:
        messages = [
            (change.data, ACK if index in acknowledged else 0)
            for index, change in enumerate(changes)
        ]
        first = self._send(messages)
        failures = []
        done = False
        while not done:
            for kind, flags, sequence, body in self._receive():
                index = sequence - first
                if kind != _ERROR or not 0 <= index < len(changes):
                    continue
                number = _errno(body)
                if number:
                    why = _error_text(flags, body)
                    failures.append(Failure(changes[index].what, number, why))
                    # Of a batch that is refused as such nothing else is answered.
                    done |= changes[index].what == _WHOLE
                done |= index == last
        if failures:
            if failures[0].what == _WHOLE and failures[0].number == errno.EPERM:
                raise privilege_missing()
            raise Rejected(failures)

    def _send(self, messages: Sequence[tuple[bytes, int]]) -> int:
        """Number the messages, send them at once; returns the first number."""
        if self._sequence + len(messages) > _NUMBERS:
            self._sequence = 1
        first = self._sequence
        self._sequence += len(messages)
        buffer = bytearray()
        for number, (data, flags) in enumerate(messages, first):
            start = len(buffer)
            buffer += data
            kept = _FLAGS.unpack_from(data, _FLAGS_AT)[0]
            _NUMBERED.pack_into(buffer, start + _FLAGS_AT, kept | flags, number)
        with in_one_line("hand the kernel a change"):
            self._make_room(len(buffer))
            self._socket.send(buffer)
        return first

    def _make_room(self, size: int) -> None:
        enough = max(2 * size + (1 << 16), 1 << 18)
        self._enlarge(_SO_SNDBUFFORCE, socket.SO_SNDBUF, enough)

    def _enlarge(self, forced: int, allowed: int, size: int) -> None:
        """Give a buffer that size; without the privilege, as much as is allowed.

        Whoever may not change anything may still ask which interfaces there are.
        """
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, forced, size)
        except PermissionError:
            self._socket.setsockopt(socket.SOL_SOCKET, allowed, size)

    def _receive(self) -> Iterator[tuple[int, int, int, memoryview]]:
        """The messages of one datagram: type, flags, sequence, body."""
        try:
            size = self._socket.recv_into(self._received)
        except OSError as error:
            self._forget()
            none_came = isinstance(error, BlockingIOError)
            reason = "none came" if none_came else error.strerror or error
            wish = "take in the kernel's answer"
            raise Unanswered(*unfulfilled(wish, reason).lines) from error
        return each_message(self._received[:size])

    def _forget(self) -> None:
        """Take out what is left of a question that was given up.

        Until a socket that had no room is empty, the kernel drops what it has to say
        without another error: the next question would wait for its answer in vain.
        """
        more = True
        while more:
            try:
                self._socket.recv_into(self._received, 0, socket.MSG_DONTWAIT)
            except OSError as error:
                more = error.errno == errno.ENOBUFS


def _error_text(flags: int, body: memoryview) -> str:
    """The kernel's own words for an error, if it has any."""
    if not flags & _ACK_TLVS:
        return ""
    offset = 4 + HEADER.size  # of what was asked, cut short
    if not flags & _CAPPED:
        offset = 4 + int.from_bytes(body[4:8], sys.byteorder)
    return text(attributes(body, (offset + 3) & ~3).get(_MESSAGE_TEXT, b""))


def _errno(body: memoryview) -> int:
    """The number of an answer's error; 0 if it is an acknowledgement."""
    return -int.from_bytes(body[:4], sys.byteorder, signed=True)
