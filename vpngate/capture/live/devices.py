# SPDX-License-Identifier: GPL-2.0-or-later
"""What kind of link layer a network device has.

Knows how to ask the kernel for a device's hardware type (netdevice(7)), in the
network namespace it was made in; does not know frames.
"""

import errno
import fcntl
import socket
from struct import Struct

from vpngate.link_layers import LinkType

_SIOCGIFNAME = 0x8910
_SIOCGIFHWADDR = 0x8927
_IFREQ_SIZE = 40
_IFREQ_INDEX = Struct("=16xi20x")  # name, index
_IFREQ_FAMILY = Struct("=16xH22x")  # name, family of the hardware address

# ARPHRD_* of linux/if_arp.h. Devices of any other type we may meet (ppp, tun,
# tunnels) hand their packets over from the IP header on.
_ARPHRD_ETHER = 1
_ARPHRD_LOOPBACK = 772
_ETHERNET_LIKE = frozenset({_ARPHRD_ETHER, _ARPHRD_LOOPBACK})


# rtnetlink(7): word of each link that comes, goes or changes.
_RTMGRP_LINK = 1
_WORD_BYTES = 1 << 16
_WORDS_AT_ONCE = 64


class Devices:
    """Link types of devices by interface index; each is asked for once.

    An index may be given again, to a device of another type. So whatever the kernel
    has announced of links, `follow` has everything asked for anew.
    """

    def __init__(self) -> None:
        self._link_types: dict[int, LinkType] = {}
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._words = socket.socket(
                socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE
            )
        except BaseException:
            self._socket.close()
            raise
        self._words.setblocking(False)
        self._words.bind((0, _RTMGRP_LINK))

    def follow(self) -> None:
        """Take in what has changed; to be called before packets are read."""
        for _ in range(_WORDS_AT_ONCE):
            try:
                self._words.recv(_WORD_BYTES)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:  # more has changed than it could hold
                    raise
            self._link_types.clear()

    def link_type(self, ifindex: int) -> LinkType | None:
        """The link type of frames on a device; None if the device is gone."""
        known = self._link_types.get(ifindex)
        if known is None:
            try:
                request = fcntl.ioctl(
                    self._socket, _SIOCGIFNAME, _IFREQ_INDEX.pack(ifindex)
                )
                answer = fcntl.ioctl(self._socket, _SIOCGIFHWADDR, request)
            except OSError:
                return None
            (hardware,) = _IFREQ_FAMILY.unpack(answer)
            known = LinkType.ETHERNET if hardware in _ETHERNET_LIKE else LinkType.RAW
            self._link_types[ifindex] = known
        return known

    def close(self) -> None:
        """Stop asking."""
        self._socket.close()
        self._words.close()
