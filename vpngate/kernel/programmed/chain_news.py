# SPDX-License-Identifier: GPL-2.0-or-later
"""Word of chains that come to the hook of interfaces where programs stand, or go.

Knows nftables' announcements; does not know at which interfaces programs stand, nor
what becomes of these. Base chains of bridges count, too. Where announcements were lost
there may be such a chain. One that goes does not say at which hook it was.
"""

import os
import select
import socket
import threading
from typing import Self

from vpngate.kernel.neighbours import read_chains
from vpngate.kernel.wire import nft
from vpngate.kernel.wire.attributes import each_message
from vpngate.kernel.wire.channel import NETFILTER
from vpngate.kernel.wire.failures import in_one_line
from vpngate.kernel.wire.links import Announcement, Listener, What
from vpngate.packets import HookPoint

_GROUP = 7  # NFNLGRP_NFTABLES
_NEW_CHAIN = nft.SUBSYSTEM | nft.NEW_CHAIN
_GONE_CHAIN = nft.SUBSYSTEM | nft.DELETE_CHAIN
_BRIDGE = 7  # NFPROTO_BRIDGE
_FAMILIES = {nft.NETDEV, nft.INET, _BRIDGE}
_RECEIVE = 1 << 18


class ChainNews:
    """A thread that tells the listener, in that thread, until the end of its block."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        with in_one_line("hear of chains"):
            self._socket = socket.socket(
                socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETFILTER
            )
            self._socket.bind((0, 1 << (_GROUP - 1)))
        self._wake, self._woken = os.pipe2(os.O_CLOEXEC)
        self._thread = threading.Thread(
            target=self._listen, name="vpngate-chains", daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._woken)
        self._thread.join()

    def _listen(self) -> None:
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        try:
            while all(ready != self._wake for ready, _ in poll.poll()):
                for what in self._receive():
                    self._listener(Announcement(what))
        finally:
            self._socket.close()
            os.close(self._wake)

    def _receive(self) -> set[What]:
        try:
            return read_chain_news(self._socket.recv(_RECEIVE))
        except OSError:  # ENOBUFS: more happened than the socket could hold
            return {What.CHAIN}


def read_chain_news(datagram: bytes) -> set[What]:
    """What a datagram of the kernel's tells of chains, new or hooked anew, and gone."""
    found = set[What]()
    for kind, _, _, body in each_message(datagram):
        if kind == _NEW_CHAIN and _is_before(bytes(body)):
            found.add(What.CHAIN)
        if kind == _GONE_CHAIN and body[0] in _FAMILIES:
            found.add(What.CHAIN_GONE)
    return found


def _is_before(body: bytes) -> bool:
    """Whether a chain stands at ingress, or where a bridge's frames pass it."""
    if body[0] == _BRIDGE:
        return nft.CHAIN_HOOK in nft.parts(body)
    return any(chain.point is HookPoint.INGRESS for chain in read_chains([body]))
