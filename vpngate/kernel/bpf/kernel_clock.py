# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether programs and this process have one clock.

Knows how a program is asked for the time; does not know what is timed by it. In a time
namespace a process has another: what it writes would end days late, or never count.
"""

import struct
import time
from contextlib import closing

from vpngate.errors import MissingFeature, Problem
from vpngate.kernel.bpf import programs
from vpngate.kernel.bpf.assembly import R0, R1, ActionCode, Assembly
from vpngate.kernel.bpf.maps import index, mapped_array
from vpngate.kernel.bpf.syscall import Helper

_FRAME = bytes(12) + b"\x08\0" + bytes(46)
_SLACK = 10**7  # nanoseconds: what is promised is ten times as long


def insist_on_one_clock() -> None:
    """MissingFeature if the kernel's clock is not this process's."""
    before = time.monotonic_ns()
    with closing(mapped_array("now", 8)) as now:
        code = Assembly().call(Helper.NOW).map_value(R1, now).store(8, R1, 0, R0)
        program = programs.load(code.exit(ActionCode.NEXT).assembled(), "vpngate_now")
        try:
            programs.try_out(program, _FRAME)
        finally:
            programs.close(program)
        (kernels,) = struct.unpack("=Q", now.get(index(0)) or bytes(8))
    if not before - _SLACK < kernels < time.monotonic_ns() + _SLACK:
        what = "the kernel's clock is not this process's: it is in a time namespace"
        remedy = 'run vpngate outside of it, or choose gateway.plane = "nftables"'
        raise MissingFeature(Problem("eBPF", what, remedy))
