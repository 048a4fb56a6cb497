# SPDX-License-Identifier: GPL-2.0-or-later
"""What kind of link layer a network device has.

Knows how to ask the kernel for a device's hardware type (netdevice(7)), in the
network namespace it was made in; does not know frames.
"""

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


class Devices:
    """Link types of devices by interface index; each is asked for once."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._link_types: dict[int, LinkType] = {}

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
            # An index is not given out again while the machine runs.
            self._link_types[ifindex] = known
        return known

    def close(self) -> None:
        """Stop asking."""
        self._socket.close()
