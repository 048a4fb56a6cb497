# SPDX-License-Identifier: GPL-2.0-or-later
"""Packets that IPsec has let in here, or lets out, and that must keep what tells of it.

Knows how a program sees that (the packet's secpath), and whether this kernel has IPsec
at all; does not know policies. A pair takes it off: a policy would then drop what comes
in, and a network card that does IPsec as a whole would send in clear, or drop, what it
is to encrypt.
"""

import errno
from functools import cache

from vpngate.kernel.bpf import programs
from vpngate.kernel.bpf.assembly import (
    R0,
    R1,
    R2,
    R3,
    R4,
    R5,
    R6,
    STACK,
    ActionCode,
    Assembly,
)
from vpngate.kernel.bpf.programs import Unverified
from vpngate.kernel.bpf.syscall import Helper

_STATE_AT, _STATE_SIZE = -200, 28  # struct bpf_xfrm_state


def leave_alone(code: Assembly, alone: str) -> None:
    """Go to `alone` with a packet that IPsec has had or is to have; R6 tells of it.

    A kernel without IPsec has none.
    """
    if is_known():
        _leave_alone(code, alone)


@cache
def is_known() -> bool:
    """Whether a program may ask for it; that never changes while a kernel runs."""
    code = Assembly().set(R6, R1)
    _leave_alone(code, "out")
    code.label("out").exit(ActionCode.NEXT)
    try:
        programs.close(programs.load(code.assembled(), "vpngate_ipsec"))
    except Unverified as error:
        if error.number == errno.EINVAL:  # no such helper
            return False
        raise
    return True


def _leave_alone(code: Assembly, alone: str) -> None:
    code.set(R1, R6).set(R2, 0).set(R3, STACK).compute("+", R3, _STATE_AT)
    code.set(R4, _STATE_SIZE).set(R5, 0).call(Helper.IPSEC_STATE)
    code.jump("==", R0, 0, alone)
