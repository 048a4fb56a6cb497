# SPDX-License-Identifier: GPL-2.0-or-later
"""What a stream's datagrams look like: transports that carry calls, games and films.

Knows the headers that a packet of each begins with, as their specifications lay them
out, and the acknowledgments that travel beside the data; does not know sockets, nor
how a real peer would react: nothing is repeated, nothing is negotiated. All of them
count something in their first bytes, as ESP does.
"""

from collections.abc import Callable, Iterator, Mapping
from struct import Struct


class Framing:
    """Nothing before the datagram's own number."""

    size = 0  # bytes of the head

    def head(self, number: int, length: int, elapsed: float) -> bytes:  # noqa: ARG002
        """What datagram `number` of `length` bytes begins with, `elapsed` s on."""
        return b""

    def beside(self, elapsed: float) -> Iterator[bytes]:  # noqa: ARG002
        """What is sent beside the data by now."""
        yield from ()


class Srt(Framing):
    """Secure Reliable Transport, data and acknowledgments in both directions.

    draft-sharabayko-srt-01: data packets in section 3.1, acknowledgments (a full one
    every 10 ms, section 4.8.1) in 3.2.4.
    """

    # Data: sequence number with F = 0; position, order, encryption and message
    # number; time in microseconds; destination socket.
    _DATA = Struct(">IIII")
    _SOLO, _MESSAGES = 0xC0000000, 1 << 26
    # Control: F = 1 and type 2, subtype; acknowledgment number; time; destination;
    # then last packet, RTT, its variance, buffer, packets/s, bandwidth, bytes/s.
    _ACK = Struct(">HHIIIIIIIIII")
    _ACK_TYPE = 0x8002
    _EVERY = 0.01  # seconds
    _SOCKET, _FIRST = 0x2F5A6C01, 0x1A2B3C00
    _MICROSECONDS = 1_000_000

    size = _DATA.size

    def __init__(self) -> None:
        self._acknowledged = 0

    def head(self, number: int, length: int, elapsed: float) -> bytes:  # noqa: ARG002
        time = int(elapsed * self._MICROSECONDS)
        message = self._SOLO | number % self._MESSAGES
        return self._DATA.pack(self._FIRST + number, message, time, self._SOCKET)

    def beside(self, elapsed: float) -> Iterator[bytes]:
        while self._acknowledged < elapsed / self._EVERY:
            self._acknowledged += 1
            yield self._ACK.pack(
                *(self._ACK_TYPE, 0, self._acknowledged),
                *(int(elapsed * self._MICROSECONDS), self._SOCKET),
                *(self._FIRST + self._acknowledged, 1000, 500, 8192),
                *(4000, 40_000, 5_000_000),
            )


class Kcp(Framing):
    """KCP, which games and relays use: pushes, with a window that breathes.

    Protocol of ikcp.c (skywind3000/kcp, protocol.txt), little-endian: conversation,
    command, fragment, window, time in milliseconds, number, unacknowledged, length.
    """

    _HEADER = Struct("<IBBHIIII")
    _CONVERSATION, _PUSH = 0x55667788, 81
    _WINDOW = 1024

    size = _HEADER.size

    def head(self, number: int, length: int, elapsed: float) -> bytes:
        window = self._WINDOW - number % 128
        milliseconds = int(elapsed * 1000)
        return self._HEADER.pack(
            *(self._CONVERSATION, self._PUSH, 0, window, milliseconds),
            *(number, max(0, number - 32), length - self.size),
        )


class Turn(Framing):
    """RTP in the channel data of a TURN relay.

    RFC 8656 section 12.4: channel number and length; RFC 3550 section 5.1: version,
    payload type, sequence number, time of a 90 kHz clock, source.
    """

    _CHANNEL = Struct(">HH")
    _RTP = Struct(">BBHII")
    _NUMBER, _PAYLOAD_TYPE, _SOURCE = 0x4001, 96, 0x7A6B5C4D

    size = _CHANNEL.size + _RTP.size

    def head(self, number: int, length: int, elapsed: float) -> bytes:
        time = int(elapsed * 90_000)
        return self._CHANNEL.pack(
            self._NUMBER, length - self._CHANNEL.size
        ) + self._RTP.pack(
            *(0x80, self._PAYLOAD_TYPE, number % (1 << 16), time, self._SOURCE)
        )


FRAMINGS: Mapping[str, Callable[[], Framing]] = {
    "plain": Framing,
    "srt": Srt,
    "kcp": Kcp,
    "turn": Turn,
}
