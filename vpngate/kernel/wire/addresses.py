# SPDX-License-Identifier: GPL-2.0-or-later
"""The machine's own addresses, and the networks that they are in.

Knows how to ask the kernel for them (rtnetlink(7), RTM_GETADDR); does not know what
they are used for.
"""

import struct
from typing import NamedTuple

from vpngate.kernel.wire.attributes import DUMP, attributes, message
from vpngate.kernel.wire.channel import ROUTE, Channel

_GET_ADDRESS = 22
_ADDRESS = struct.Struct("=BBBBI")  # ifaddrmsg: family, prefix, flags, scope, index
# On a point-to-point link ADDRESS is the peer's and LOCAL ours; IPv6 has no LOCAL
# elsewhere.
_IFA_ADDRESS, _IFA_LOCAL = 1, 2


class InterfaceAddress(NamedTuple):
    """An address that an interface has.

    address   of this machine, in network order
    network   the address that stands for the network: the peer's on a point-to-point
              link; its host bits are set
    length    of the network's prefix, in bits
    interface by its index
    """

    address: bytes
    network: bytes
    length: int
    interface: int


def current_addresses() -> frozenset[InterfaceAddress]:
    """Every IPv4 and IPv6 address of this network namespace."""
    channel = Channel(ROUTE)
    try:
        head = _ADDRESS.pack(0, 0, 0, 0, 0)
        answers = channel.dump(message(_GET_ADDRESS, DUMP, head))
    finally:
        channel.close()
    return frozenset(held for answer in answers if (held := _read(answer)))


def _read(answer: bytes | memoryview) -> InterfaceAddress | None:
    _, length, _, _, index = _ADDRESS.unpack_from(answer)
    parts = attributes(answer, _ADDRESS.size)
    network = parts.get(_IFA_ADDRESS)
    address = parts.get(_IFA_LOCAL, network)
    if address is None:
        return None
    return InterfaceAddress(bytes(address), bytes(network or address), length, index)
