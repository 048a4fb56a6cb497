# SPDX-License-Identifier: GPL-2.0-or-later
"""A PPTP call between two hosts of the lab, played from RFC 2637 message by message.

Knows the messages that open a control connection and a call, and enhanced GRE; does
not know PPP. Both ends are real sockets: TCP 1723 and raw GRE.
"""

import contextlib
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from tests.lab.namespaces import PATIENCE
from tests.lab.topology import Host, Place

_PORT = 1723
_MAGIC = 0x1A2B3C4D

# RFC 2637 section 2: length, message type 1, magic, control type, reserved.
_HEADER = struct.Struct("!HHIHH")
# Sections 2.1 and 2.2: version, result and error or reserved, framing and bearer
# capabilities, maximum channels, firmware, host name, vendor.
_START = struct.Struct("!HBBIIHH64s64s")
# Section 2.7: call id, serial, minimum and maximum rate, bearer, framing, window,
# delay, length of the number, reserved, number, subaddress.
_OUTGOING_REQUEST = struct.Struct("!HHIIIIHHHH64s64s")
# Section 2.8: call id, peer's call id, result, error, cause, rate, window, delay,
# physical channel.
_OUTGOING_REPLY = struct.Struct("!HHBBHIHHI")
# Section 4.1: flags (key and sequence present) and version 1, protocol, payload
# length, call id, sequence number.
_ENHANCED_GRE = struct.Struct("!HHHHI")
_GRE_FLAGS = 0x3001
_GRE_PPP = 0x880B

_START_REQUEST, _START_REPLY = 1, 2
_OUTGOING_CALL_REQUEST, _OUTGOING_CALL_REPLY = 7, 8


def _message(kind: int, body: bytes) -> bytes:
    return _HEADER.pack(_HEADER.size + len(body), 1, _MAGIC, kind, 0) + body


def _start(kind: int, result: int) -> bytes:
    return _message(
        kind,
        _START.pack(0x0100, result, 0, 1, 1, 0, 1, b"lab".ljust(64, b"\0"), b"lab"),
    )


def _exchange(near: socket.socket, far: socket.socket) -> None:
    """Control connection, then one outgoing call (sections 2.1, 2.2, 2.7, 2.8)."""
    request = _OUTGOING_REQUEST.pack(
        1, 1, 300, 100_000_000, 3, 3, 64, 0, 0, 0, b"", b""
    )
    reply = _OUTGOING_REPLY.pack(2, 1, 1, 0, 0, 100_000_000, 64, 0, 0)
    for sender, receiver, message in (
        (near, far, _start(_START_REQUEST, 0)),
        (far, near, _start(_START_REPLY, 1)),
        (near, far, _message(_OUTGOING_CALL_REQUEST, request)),
        (far, near, _message(_OUTGOING_CALL_REPLY, reply)),
    ):
        sender.sendall(message)
        if receiver.recv(len(message), socket.MSG_WAITALL) != message:
            raise OSError("a PPTP control message arrived damaged")


@dataclass
class Pptp:
    """A call that is up."""

    _near: socket.socket
    _far: socket.socket
    _sequence: int = 0

    def exchange(self, packets: int, size: int = 64) -> None:
        """`packets` of enhanced GRE each way, with `size` bytes of PPP in each."""
        for _ in range(packets):
            for sock, call in ((self._near, 2), (self._far, 1)):
                header = _ENHANCED_GRE.pack(
                    _GRE_FLAGS, _GRE_PPP, size, call, self._sequence
                )
                sock.send(header + bytes(size))
            self._sequence += 1


def _gre(own: Place, other: Place) -> socket.socket:
    def raw() -> socket.socket:
        return socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_GRE)

    sock = own.namespace.call(raw)
    sock.bind((own.address, 0))
    sock.connect((other.address, 0))
    return sock


@contextlib.contextmanager
def tunnel(client: Host, server: Host) -> Iterator[Pptp]:
    """A call from client to server over IPv4, its control connection open."""
    near, far = client.at(), server.at()

    def tcp() -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.settimeout(PATIENCE)
        return sock

    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(far.namespace.call(tcp))
        calling = stack.enter_context(near.namespace.call(tcp))
        listener.bind((far.address, _PORT))
        listener.listen()
        calling.connect((far.address, _PORT))
        answering, _ = listener.accept()
        stack.enter_context(answering)
        answering.settimeout(PATIENCE)
        _exchange(calling, answering)
        raw_near = stack.enter_context(_gre(near, far))
        raw_far = stack.enter_context(_gre(far, near))
        yield Pptp(raw_near, raw_far)
