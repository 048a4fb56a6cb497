# SPDX-License-Identifier: GPL-2.0-or-later
"""The machine's own addresses.

Knows how to ask the kernel for them (rtnetlink(7), RTM_GETADDR); does not know what
they are used for.
"""

import struct

from vpngate.kernel.messages import DUMP, REQUEST
from vpngate.kernel.netlink import HEADER, ROUTE, Channel, attributes

_GET_ADDRESS = 22
_ADDRESS = struct.Struct("=BBBBI")  # ifaddrmsg: family, prefix, flags, scope, index
# On a point-to-point link ADDRESS is the peer's and LOCAL ours; IPv6 has no LOCAL
# elsewhere.
_IFA_ADDRESS, _IFA_LOCAL = 1, 2


def current_addresses() -> frozenset[bytes]:
    """Every IPv4 and IPv6 address of this network namespace, in network order."""
    channel = Channel(ROUTE)
    try:
        head = _ADDRESS.pack(0, 0, 0, 0, 0)
        length = HEADER.size + len(head)
        request = HEADER.pack(length, _GET_ADDRESS, REQUEST | DUMP, 0, 0) + head
        parts = [attributes(answer, _ADDRESS.size) for answer in channel.dump(request)]
    finally:
        channel.close()
    found = (part.get(_IFA_LOCAL, part.get(_IFA_ADDRESS)) for part in parts)
    return frozenset(bytes(address) for address in found if address is not None)
