# SPDX-License-Identifier: GPL-2.0-or-later
"""When a verdict is in force: as the kernel says, and anybody may hear it.

Knows nftables' announcements of elements, which come once a transaction is in force,
and the verdict maps of UDP over IPv4; does not know who put them there. Of programs'
maps the kernel says nothing: there the daemon writes it down (`noting.py`).
"""

import os
import socket
import struct
import threading
import time
from pathlib import Path
from typing import Self

from tests.lab.namespaces import Namespace
from vpngate.kernel.wire import nft
from vpngate.kernel.wire.attributes import attributes, each_attribute, each_message
from vpngate.packets import Direction, Family, Transport
from vpngate.ruleset import names

_NETLINK_NETFILTER = 12
_NFTABLES_GROUP = 7  # NFNLGRP_NFTABLES
_SOL_NETLINK, _ADD_MEMBERSHIP = 270, 1
_SO_RCVBUFFORCE, _BUFFER = 33, 64 << 20
_LOOK = 0.2  # seconds
# What is noted of a verdict: both ends, near first, as `when` has them; when it was.
RECORD = struct.Struct("=12sd")


class VerdictNews:
    """Listens from `with` on; `when` has the first time of each verdict.

    By both ends, the subscriber's first: addresses, then ports. A verdict has an
    element a direction, of one transaction: the later one counts.
    """

    def __init__(self, namespace: Namespace) -> None:
        self.when: dict[bytes, float] = {}
        self._over = threading.Event()
        self._failure: BaseException | None = None
        self._socket = namespace.call(self._open)
        self._thread = threading.Thread(target=self._run)
        self._half: dict[bytes, Direction] = {}
        self._maps = {
            names.verdict_map(direction, Family.IPV4, Transport.UDP): direction
            for direction in Direction
        }

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._socket.close()
        if self._failure is not None:
            raise self._failure

    @staticmethod
    def _open() -> socket.socket:
        news = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER)
        news.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
        news.bind((0, 0))
        news.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, _NFTABLES_GROUP)
        news.settimeout(_LOOK)
        return news

    def _run(self) -> None:
        try:
            while not self._over.is_set():
                try:
                    datagram = self._socket.recv(1 << 20)
                except TimeoutError:
                    continue
                self._read(datagram, time.monotonic())
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            self._failure = error

    def _read(self, datagram: bytes, now: float) -> None:
        for kind, _, _, body in each_message(datagram):
            if kind != nft.SUBSYSTEM | nft.NEW_ELEMENT:
                continue
            parts = nft.parts(bytes(body))
            name = bytes(parts[nft.ELEMENTS_SET]).rstrip(b"\0").decode()
            if (direction := self._maps.get(name)) is None:
                continue
            for _, one in each_attribute(parts[nft.ELEMENTS]):
                key = attributes(attributes(one)[nft.ELEMENT_KEY])[nft.DATA_VALUE]
                self._note(bytes(key), direction, now)

    def _note(self, key: bytes, direction: Direction, now: float) -> None:
        if direction is Direction.DOWNLOAD:
            key = key[4:8] + key[:4] + key[10:12] + key[8:10]
        other = self._half.setdefault(key, direction)
        if other is not direction and key not in self.when:
            self.when[key] = now


class Noted:
    """The same of a daemon over programs, which writes it down itself (`noting.py`)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._when: dict[bytes, float] = {}

    def __enter__(self) -> Self:
        self._file = self._path.open("rb")
        self._file.seek(0, os.SEEK_END)
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def when(self) -> dict[bytes, float]:
        """The first time of each verdict, so far."""
        whole = self._file.read()
        rest = len(whole) % RECORD.size  # one that is being written
        if rest:
            self._file.seek(-rest, os.SEEK_CUR)
        for key, moment in RECORD.iter_unpack(whole[: len(whole) - rest]):
            self._when.setdefault(key, moment)
        return self._when
