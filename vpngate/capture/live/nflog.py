# SPDX-License-Identifier: GPL-2.0-or-later
"""Receives the copies that the kernel's rules send to an NFLOG group.

Knows the socket, its buffer and its two ways to lose packets: `overrun`, times that
the socket's buffer was full (ENOBUFS), and `gap`, packets missing in the kernel's
own count. Does not know the rules, nor what the packets mean. Nothing here is in a
packet's path: NFLOG copies.
"""

import errno
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path

from vpngate.capture.live.devices import Devices
from vpngate.capture.live.nflog_messages import (
    NETLINK_NETFILTER,
    Logged,
    acknowledgement,
    bind_request,
    logged_packets,
)
from vpngate.capture.live.source import Captured, LiveCapture
from vpngate.errors import (
    GroupTaken,
    MachineFault,
    MissingFeature,
    MissingPrivilege,
    VpngateError,
)
from vpngate.link_layers import network_layer, network_layer_of
from vpngate.packets import HookPoint, decode
from vpngate.ruleset.witnessing import WORD

_SO_RCVBUFFORCE = 33
_SEQUENCES = 2**32

# Our own limits.
_THRESHOLD = 64  # packets
_TIMEOUT = 1  # hundredths of a second
_BATCH_BYTES = 32 << 10
_SOCKET_BUFFER = 16 << 20  # bytes
_DATAGRAM_BYTES = 256 << 10  # a batch, or one packet of 64 KiB with its attributes
_DATAGRAMS_A_CALL = 64  # then the event loop gets its turn
_ANSWER_SECONDS = 5.0


class NflogCapture(LiveCapture):
    """A bound NFLOG group; a `Source`.

    Raises GroupTaken, MissingPrivilege, MissingFeature or MachineFault if the group
    cannot be bound in the network namespace of the calling thread.
    """

    def __init__(self, group: int, *, buffer_bytes: int = _SOCKET_BUFFER) -> None:
        super().__init__()
        self._group = group
        self._buffer_bytes = buffer_bytes
        self._lost = {"overrun": 0, "gap": 0}
        self._is_first = True  # of the packets since nothing was left
        self._next_sequence: int | None = None
        self._buffer = memoryview(bytearray(_DATAGRAM_BYTES))
        self._devices = Devices()
        try:
            self._socket = self._bind()
        except BaseException:
            self._devices.close()
            raise

    def fileno(self) -> int:
        """The socket, readable when packets wait."""
        return self._socket.fileno()

    @property
    def losses(self) -> Mapping[str, int]:
        """Losses since the start: `overrun` in times, `gap` in packets."""
        return dict(self._lost)

    def receive(self) -> list[Captured]:
        """The packets that wait, at most some thousands; never blocks."""
        captured: list[Captured] = []
        self.is_drained = False
        for _ in range(_DATAGRAMS_A_CALL):
            try:
                size = self._socket.recv_into(self._buffer)
            except BlockingIOError:
                self.is_drained = self._is_first = True
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self._lost["overrun"] += 1
                continue
            self._devices.follow()
            for logged in logged_packets(self._buffer[:size]):
                self._count(logged.sequence)
                if logged.word == WORD:
                    self.witnesses += 1
                    continue
                self.read += 1
                if (one := self._captured(logged)) is not None:
                    captured.append(one)
        return captured

    def close(self) -> None:
        """Stop receiving; the kernel unbinds the group."""
        self._socket.close()
        self._devices.close()

    def _captured(self, logged: Logged) -> Captured | None:
        try:
            hook = HookPoint(logged.hook)
        except ValueError:  # no rule of ours stands there
            return None
        if hook is HookPoint.INGRESS:
            network = network_layer_of(logged.ether_type, logged.payload)
        else:
            link_type = self._devices.link_type(logged.ifindex)
            if link_type is None:
                return None
            network = network_layer(link_type, logged.payload)
        packet = decode(network) if network else None
        if packet is None:
            return None
        timestamp = time.time() if logged.timestamp is None else logged.timestamp
        return Captured(packet, hook, logged.ifindex, timestamp)

    def _count(self, sequence: int | None) -> None:
        if sequence is None:
            return
        if self._next_sequence is not None:
            gap = (sequence - self._next_sequence) % _SEQUENCES
            self._lost["gap"] += gap
            self.lost_before += gap if self._is_first else 0
        self._is_first = False
        self._next_sequence = (sequence + 1) % _SEQUENCES

    def _bind(self) -> socket.socket:
        try:
            bound = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
        except OSError as error:
            raise MissingFeature(
                f"kernel: no netfilter netlink ({error.strerror}); "
                "it needs CONFIG_NETFILTER_NETLINK_LOG"
            ) from error
        try:
            failure = self._configure(bound)
        except BaseException:
            bound.close()
            raise
        if failure:
            bound.close()
            raise self._explained(failure)
        bound.setblocking(False)
        return bound

    def _configure(self, bound: socket.socket) -> int:
        """Sends the configuration; the errno of the kernel's answer."""
        try:
            bound.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, self._buffer_bytes)
        except PermissionError as error:
            return error.errno or errno.EPERM
        bound.bind((0, 0))
        bound.settimeout(_ANSWER_SECONDS)
        sequence = 1
        bound.send(
            bind_request(
                self._group,
                threshold=_THRESHOLD,
                timeout=_TIMEOUT,
                batch_bytes=_BATCH_BYTES,
                sequence=sequence,
            )
        )
        while True:
            # Packets may come before the answer: the group is bound by then.
            try:
                size = bound.recv_into(self._buffer)
            except TimeoutError:
                return errno.ETIMEDOUT
            answer = acknowledgement(self._buffer[:size], sequence)
            if answer is not None:
                return answer

    def _explained(self, failure: int) -> VpngateError:
        where = f"NFLOG group {self._group}"
        # The kernel says EPERM both without privilege and for a group of another.
        denied = failure == errno.EPERM
        if failure == errno.EBUSY or (denied and self._group in _groups_in_use()):
            return GroupTaken(
                f"{where}: another process reads it; "
                "stop that process, or set another capture.nflog_group"
            )
        if denied:
            return MissingPrivilege(f"{where}: not permitted; it needs CAP_NET_ADMIN")
        if failure in (errno.EINVAL, errno.EOPNOTSUPP):
            return MissingFeature(
                f"{where}: this kernel has no NFLOG; "
                "it needs CONFIG_NETFILTER_NETLINK_LOG"
            )
        return MachineFault(
            f"{where}: the kernel answered: {os.strerror(failure)}; "
            "see the kernel's log"
        )


def _groups_in_use() -> frozenset[int]:
    """The groups that are bound in this namespace; none if they may not be read."""
    try:
        lines = Path("/proc/thread-self/net/netfilter/nfnetlink_log").read_text("ascii")
    except OSError:
        return frozenset()
    return frozenset(int(line.split()[0]) for line in lines.splitlines())
