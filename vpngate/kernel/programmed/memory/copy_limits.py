# SPDX-License-Identifier: GPL-2.0-or-later
"""The limits on copies, as programs keep them: an array by hook and signature.

Knows how each is laid out; does not know how programs go by it.
"""

import mmap
import struct
from collections.abc import Sequence

from vpngate.kernel.bpf.plane_maps import LIMIT_SIZE
from vpngate.packets import HookPoint
from vpngate.ruleset import Ruleset, sharing
from vpngate.signatures import Signature

_SECOND = 10**9


def put(memory: mmap.mmap, ruleset: Ruleset, signatures: Sequence[Signature]) -> None:
    """Have these hold, all of them whole; signatures in the order of their numbers."""
    many = len(signatures)
    for point in HookPoint:
        for number, one in enumerate(signatures):
            rate = sharing.copies(ruleset, one).rate
            between = _SECOND // rate
            at = (point * many + number) * LIMIT_SIZE
            struct.pack_into("=QQQ", memory, at, 0, between, (rate - 1) * between)
