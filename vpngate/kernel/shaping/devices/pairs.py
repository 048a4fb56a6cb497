# SPDX-License-Identifier: GPL-2.0-or-later
"""The messages that make a pair of veth devices and put it up (linux/veth.h).

Knows how both ends are kept free of traffic that nobody sent there; does not know
names. Not by pyroute2, which does not tell the far end's flags. The far end cannot be
made up, as the near one is: the kernel announces it as down first. So it has its MTU
last of all, and with the old one it is still being made.
"""

import struct
from typing import NamedTuple

from vpngate.kernel.wire import links
from vpngate.kernel.wire.attributes import CREATE, EXCLUSIVE, attribute, message

_KIND, _PEER = b"veth\0", 1  # VETH_INFO_PEER
# IF_LINK_MODE_DORMANT: whoever configures interfaces waits until somebody says that it
# is ready, which nobody does. So the kernel gives it no IPv6 address, and greets no
# neighbours. What is sent to it passes.
_DORMANT = b"\1"
_CHANGED = links.UP | links.NO_ARP | links.MULTICAST
# One queue: what two would reorder is not. (What two processors that empty it in turn
# would, `steering` prevents.)
_ONE = struct.pack("=I", 1)


# In bytes. An end takes what fits its own MTU, or is to be split, whatever the other
# end's is: the near one's is there for the kernel to warn of no TBF.
_NEAR_MTU = 1500
FAR_MTU = 65535  # the most that veth has
FAR_MTU_WHILE_MADE = 1400


class End(NamedTuple):
    """One end of a pair."""

    name: str
    address: bytes


def new_pair(near: End, far: End) -> bytes:
    """Make both, the near end up."""
    peer = attribute(_PEER, _described(far, 0, FAR_MTU_WHILE_MADE), nested=True)
    information = attribute(links.IFLA_INFO_KIND, _KIND)
    information += attribute(links.IFLA_INFO_DATA, peer, nested=True)
    body = _described(near, links.UP, _NEAR_MTU)
    body += attribute(links.IFLA_LINKINFO, information, nested=True)
    return message(links.NEW_LINK, CREATE | EXCLUSIVE, body)


def put_up(index: int) -> list[bytes]:
    """Put the far end up, and then have it take packets of any size."""
    up = links.LINK_HEAD.pack(0, 0, index, links.UP, links.UP)
    still = links.LINK_HEAD.pack(0, 0, index, 0, 0)
    mtu = attribute(links.IFLA_MTU, struct.pack("=I", FAR_MTU))
    return [message(links.NEW_LINK, 0, up), message(links.NEW_LINK, 0, still + mtu)]


def _described(end: End, flags: int, mtu: int) -> bytes:
    head = links.LINK_HEAD.pack(0, 0, 0, flags | links.NO_ARP, _CHANGED)
    return head + b"".join(
        (
            attribute(links.IFLA_IFNAME, end.name.encode() + b"\0"),
            attribute(links.IFLA_ADDRESS, end.address),
            attribute(links.IFLA_MTU, struct.pack("=I", mtu)),
            attribute(links.IFLA_LINKMODE, _DORMANT),
            attribute(links.IFLA_TX_QUEUES, _ONE),
            attribute(links.IFLA_RX_QUEUES, _ONE),
        )
    )
