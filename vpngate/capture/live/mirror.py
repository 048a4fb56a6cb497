# SPDX-License-Identifier: GPL-2.0-or-later
"""Receives what a mirror port brings in: whole traffic, of which candidates are kept.

Knows packet(7) sockets, and that the filter has to stand before the first packet
does; does not know what the filter picks. Nothing here can send or change a packet.
The kernel takes filters of a limited size, so an interface may need several sockets,
each with a part of the filter; where net.core.optmem_max is too small even for a part
(20 KiB in Debian 12), the kernel takes a cheap first look, and libpcap the second.
"""

import ctypes
import errno
import select
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from struct import Struct
from typing import NamedTuple

from vpngate.capture.candidates import CandidateFilter, Matcher
from vpngate.capture.classic_bpf import Program
from vpngate.capture.live.devices import Devices
from vpngate.capture.live.source import Captured, LiveCapture
from vpngate.errors import MachineFault, MissingInterface, MissingPrivilege
from vpngate.link_layers import LinkType, network_layer
from vpngate.packets import decode

_ETH_P_ALL = 0x0003
_SOL_PACKET = 263
_PACKET_ADD_MEMBERSHIP = 1
_PACKET_STATISTICS = 6
_PACKET_MR_PROMISC = 1
_SO_ATTACH_FILTER = 26
_SO_RCVBUFFORCE = 33

_INSTRUCTION = Struct("=HBBI")  # struct sock_filter
_FILTER = Struct("@HP")  # struct sock_fprog: instructions, where they stand
_MEMBERSHIP = Struct("=iHH8x")  # struct packet_mreq
_STATISTICS = Struct("=II")  # struct tpacket_stats: packets, drops

_MOST_INSTRUCTIONS = 4096  # BPF_MAXINSNS
# Bytes that a classic instruction takes in the kernel once it is translated: 35 to 43
# measured, with Linux 6.18.
_INSTRUCTION_MEMORY = 48
_LEAST_FILTER_MEMORY = 20 << 10  # optmem_max of kernels before 6.9

# Our own limits.
_SOCKET_BUFFER = 16 << 20  # bytes, of each socket
_FRAME_BYTES = 256 << 10
_FRAMES_A_CALL = 4096  # then the event loop gets its turn


class _Listening(NamedTuple):
    """A socket, what it listens to, and what its filter lets through too much."""

    socket: socket.socket
    link_type: LinkType
    ifindex: int
    sieve: Matcher | None


class MirrorCapture(LiveCapture):
    """Interfaces that are listened to; a `Source`.

    Frames that the interface sends are captured as well. Raises MissingInterface,
    MissingPrivilege or MachineFault.
    """

    def __init__(
        self,
        interfaces: Iterable[str],
        candidates: CandidateFilter,
        *,
        buffer_bytes: int = _SOCKET_BUFFER,
    ) -> None:
        super().__init__()  # what was lost between two reads the kernel does not tell
        self._buffer_bytes = buffer_bytes
        self._dropped = 0
        self._buffer = memoryview(bytearray(_FRAME_BYTES))
        self._listening: dict[int, _Listening] = {}
        self._ready = select.epoll()
        self._devices = Devices()
        try:
            for interface in interfaces:
                self._listen(interface, candidates)
        except BaseException:
            self.close()
            raise

    def fileno(self) -> int:
        """A descriptor that is readable when a frame waits on any interface."""
        return self._ready.fileno()

    @property
    def losses(self) -> Mapping[str, int]:
        """`drop`: frames that passed the filter and found a buffer full."""
        for listening in self._listening.values():
            self._count(listening.socket)
        return {"drop": self._dropped}

    def receive(self) -> list[Captured]:
        """The packets that wait, at most some thousands; never blocks."""
        captured: list[Captured] = []
        now = time.time()
        for descriptor, _ in self._ready.poll(0):
            listening = self._listening[descriptor]
            for frame in self._frames(listening.socket):
                if listening.sieve is not None and not listening.sieve(frame):
                    continue
                self.read += 1
                network = network_layer(listening.link_type, frame)
                packet = decode(network) if network else None
                if packet is not None:
                    captured.append(Captured(packet, None, listening.ifindex, now))
        return captured

    def _frames(self, listening: socket.socket) -> Iterator[bytes]:
        """The frames that wait."""
        for _ in range(_FRAMES_A_CALL):
            try:
                size = listening.recv_into(self._buffer)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENETDOWN:
                    raise
                return  # it may come up again
            yield bytes(self._buffer[:size])

    def close(self) -> None:
        """Stop listening; promiscuous mode ends with the sockets."""
        for listening in self._listening.values():
            listening.socket.close()
        self._listening.clear()
        self._ready.close()
        self._devices.close()

    def _listen(self, interface: str, candidates: CandidateFilter) -> None:
        try:
            ifindex = socket.if_nametoindex(interface)
        except OSError as error:
            raise MissingInterface(
                f"interface {interface}: there is none of that name; "
                "check gateway.interfaces"
            ) from error
        link_type = self._devices.link_type(ifindex)
        if link_type is None:
            raise MissingInterface(f"interface {interface}: it has just gone")
        programs, exact = candidates.kernel_filter(link_type, _most_instructions())
        sieve = None if exact else candidates.matcher(link_type)
        for program in programs:
            listening = _bound(interface, ifindex, program)
            _enlarge(listening, self._buffer_bytes)
            self._listening[listening.fileno()] = _Listening(
                listening, link_type, ifindex, sieve
            )
            self._ready.register(listening, select.EPOLLIN)

    def _count(self, listening: socket.socket) -> None:
        """Adds what was dropped since the last time; the kernel counts from there."""
        answer = listening.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, _STATISTICS.size)
        self._dropped += _STATISTICS.unpack(answer)[1]


def _most_instructions() -> int:
    """How long a filter the kernel takes: its memory counts as the socket's."""
    try:
        memory = int(Path("/proc/sys/net/core/optmem_max").read_text("ascii"))
    except (OSError, ValueError):
        memory = _LEAST_FILTER_MEMORY
    return min(_MOST_INSTRUCTIONS, memory // _INSTRUCTION_MEMORY)


def _bound(interface: str, ifindex: int, program: Program) -> socket.socket:
    """A socket that receives what passes the program, from its first packet on."""
    try:
        # Without a protocol nothing is received before the filter is in place.
        listening = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    except PermissionError as error:
        raise MissingPrivilege(
            f"interface {interface}: not permitted to listen; it needs CAP_NET_RAW"
        ) from error
    except OSError as error:
        # Kernels without it aside, that is what a sandbox answers.
        if error.errno != errno.EAFNOSUPPORT:
            raise
        raise MissingPrivilege(
            f"interface {interface}: not permitted to listen; it needs CAP_NET_RAW"
            " and packet sockets (for the service: systemd/mirror.conf)"
        ) from error
    try:
        listening.setblocking(False)
        _attach(listening, program)
        listening.bind((interface, _ETH_P_ALL))
        promiscuous = _MEMBERSHIP.pack(ifindex, _PACKET_MR_PROMISC, 0)
        listening.setsockopt(_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, promiscuous)
    except OSError as error:
        listening.close()
        raise MachineFault(
            f"interface {interface}: cannot listen ({error.strerror}); is it up?"
        ) from error
    return listening


def _attach(listening: socket.socket, program: Program) -> None:
    instructions = b"".join(_INSTRUCTION.pack(*each) for each in program)
    kept = ctypes.create_string_buffer(instructions)
    head = _FILTER.pack(len(program), ctypes.addressof(kept))
    listening.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, head)


def _enlarge(listening: socket.socket, size: int) -> None:
    try:
        listening.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, size)
    except PermissionError:  # as much as is given without CAP_NET_ADMIN
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
