# SPDX-License-Identifier: GPL-2.0-or-later
"""A network namespace of our own, in which anything may be tried.

Knows how to have one that vanishes by itself, and a pair of interfaces in it; does
not know what is tried. The namespace has no name: it belongs to a thread, and ends
with it and with the sockets that were opened in it, also when we are killed.
"""

import ctypes
import errno
import os
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pyroute2 import IPRoute

from vpngate.errors import MissingFeature, MissingPrivilege, Problem
from vpngate.kernel.wire.failures import in_one_line
from vpngate.packets import Endpoint, format_address

# Of the namespace of whoever opens it.
_FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
NEAR, FAR = "vg-near", "vg-far"  # ours, and the other end of the wire

_CLONE_NEWNET = 0x40000000
_ETHERNET_IPV4 = 0x0800
_IPV4 = struct.Struct(">BBHHHBBH4s4s")  # RFC 791 section 3.1
_UDP = struct.Struct(">HHHH")  # RFC 768
_UDP_PROTOCOL, _TIME_TO_LIVE = 17, 64
_FOR_US, _LONGEST = 0, 1 << 16  # PACKET_HOST; bytes
_T = TypeVar("_T")


class Arrivals:
    """IPv4 packets that come in at an end of the wire, behind its hooks, from now on.

    Counted are those that the kernel takes for its own: a packet that it holds for
    another's goes no further there.
    """

    def __init__(self, end: str) -> None:
        self._socket = _open_packet_socket()
        self._seen: Counter[bytes] = Counter()
        with in_one_line("receive test packets"):
            self._socket.bind((end, _ETHERNET_IPV4))
            self._socket.setblocking(False)

    def close(self) -> None:
        """Hear no more."""
        self._socket.close()

    def count(self, packet: bytes) -> int:
        """How often exactly this packet has come."""
        with suppress(BlockingIOError):
            while True:
                came, (_, _, kind, *_) = self._socket.recvfrom(_LONGEST)
                if kind == _FOR_US:
                    self._seen[came] += 1
        return self._seen[packet]


@dataclass(frozen=True, slots=True)
class Wire:
    """A veth pair: the near end is where vpngate would attach."""

    near: int  # indexes
    far: int
    near_address: bytes  # of the link layer
    far_address: bytes

    def send_in(self, packets: Sequence[bytes]) -> None:
        """Have IPv4 packets come in at the near end."""
        _send(FAR, self.near_address, packets)

    def send_out(self, packets: Sequence[bytes]) -> None:
        """Have IPv4 packets leave by the near end."""
        _send(NEAR, self.far_address, packets)

    def heard_in(self) -> Arrivals:
        """What comes in at the near end, once it is behind the hooks there."""
        return Arrivals(NEAR)

    def heard_out(self) -> Arrivals:
        """What comes out at the far end."""
        return Arrivals(FAR)


def alone(work: Callable[[], _T]) -> _T:
    """Run `work` in a namespace of its own. Returns and raises what it does.

    MissingPrivilege or MissingFeature if there is no such namespace to be had.
    """
    outcome: Future[_T] = Future()

    def body() -> None:
        try:
            _leave()
            outcome.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised again by `result`
            outcome.set_exception(error)

    thread = threading.Thread(target=body, name="vpngate-trial")
    thread.start()
    thread.join()
    return outcome.result()


def lay_wire(*homes: bytes) -> Wire:
    """Make the pair, both ends up; these IPv4 addresses live behind the near end.

    As on a gateway IPv4 is forwarded, which a program's question for a route asks for.
    """
    ends = []
    with in_one_line("make a pair of interfaces"), IPRoute() as route:
        route.link("add", ifname=NEAR, kind="veth", peer={"ifname": FAR})
        for name in (NEAR, FAR):
            index = route.link_lookup(ifname=name)[0]
            route.link("set", index=index, state="up")
            address = route.get_links(index)[0].get_attr("IFLA_ADDRESS")
            ends.append((index, bytes.fromhex(address.replace(":", ""))))
        for home in homes:
            route.route("add", dst=f"{format_address(home)}/32", oif=ends[0][0])
    with suppress(OSError):  # who may not write there tries with what there is
        _FORWARDING.write_text("1", encoding="ascii")
    (near, near_address), (far, far_address) = ends
    return Wire(near, far, near_address, far_address)


def datagram(source: Endpoint, destination: Endpoint, payload: bytes) -> bytes:
    """An IPv4 packet with a UDP datagram. Nobody on the wire asks for checksums."""
    udp = _UDP.pack(source.port, destination.port, _UDP.size + len(payload), 0)
    length = _IPV4.size + len(udp) + len(payload)
    head = (0x45, 0, length, 0, 0, _TIME_TO_LIVE, _UDP_PROTOCOL, 0)
    return _IPV4.pack(*head, source.address, destination.address) + udp + payload


def _leave() -> None:
    """Move the calling thread, and no other, to a new namespace for ever."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET) == 0:
        return
    number = ctypes.get_errno()
    where = "network namespace"
    if number == errno.EPERM:
        raise MissingPrivilege(
            Problem(where, "may not be made", "run as root (CAP_SYS_ADMIN)")
        )
    raise MissingFeature(Problem(where, f"cannot be made: {os.strerror(number)}"))


def _send(interface: str, to: bytes, packets: Sequence[bytes]) -> None:
    with _open_packet_socket() as sender, in_one_line("send test packets"):
        for packet in packets:
            sender.sendto(packet, (interface, _ETHERNET_IPV4, 0, 0, to))


def _open_packet_socket() -> socket.socket:
    try:
        return socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
    except PermissionError as error:
        raise MissingPrivilege(
            Problem("test packets", "may not be sent", "it needs CAP_NET_RAW")
        ) from error
