# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether tunnels of IPsec end on this machine (linux/xfrm.h).

Knows how its policies are counted; does not know who they are for, or who cares.
"""

import errno
import struct
from contextlib import closing

from vpngate.errors import KernelRefused
from vpngate.kernel.wire.attributes import attributes, message
from vpngate.kernel.wire.channel import Channel

_XFRM = 6  # NETLINK_XFRM
_GET_COUNTS = 0x25  # XFRM_MSG_GETSPDINFO
_FLAGS = struct.Struct("=I")
# Of struct xfrmu_spdinfo: those for what comes in, what leaves, what is passed on.
_COUNTS_IN, _COUNTS = 1, struct.Struct("=III")  # XFRMA_SPD_INFO


def policies_for_what_comes_in() -> int:
    """How many say what may come in or be passed on; 0 on a kernel without IPsec.

    Raises KernelRefused, or MissingPrivilege without CAP_NET_ADMIN.
    """
    try:
        channel = Channel(_XFRM)
    except KernelRefused as error:
        cause = error.__cause__
        if isinstance(cause, OSError) and cause.errno == errno.EPROTONOSUPPORT:
            return 0
        raise
    with closing(channel):
        [answer] = channel.ask([message(_GET_COUNTS, 0, _FLAGS.pack(0))])
    parts = attributes(answer or b"", _FLAGS.size)
    if _COUNTS_IN not in parts:
        return 0
    coming, _, passed_on = _COUNTS.unpack_from(parts[_COUNTS_IN])
    return int(coming + passed_on)
