# SPDX-License-Identifier: GPL-2.0-or-later
"""Which way programs stand at interfaces on this kernel.

Knows how it is asked; does not know what either way is good for.
"""

import errno

from vpngate.kernel.bpf import programs
from vpngate.kernel.bpf.syscall import AttachPoint, BpfRefused
from vpngate.kernel.programmed.attachments.attachment import Attachment
from vpngate.kernel.programmed.attachments.by_filters import ByFilters
from vpngate.kernel.programmed.attachments.by_links import ByLinks
from vpngate.kernel.wire.channel import Channel

_LOOPBACK = 1  # the index of it, in every namespace


def chosen(channel: Channel, table: str) -> Attachment:
    """Links where the kernel has them; MissingPrivilege if it may not be asked."""
    return ByLinks() if has_links() else ByFilters(channel, table)


def has_links() -> bool:
    """Whether there are hooks for links (TCX); without them EINVAL is the answer."""
    try:
        programs.attached(_LOOPBACK, AttachPoint.TCX_INGRESS)
    except BpfRefused as error:
        if error.number == errno.EINVAL:
            return False
        raise
    return True
