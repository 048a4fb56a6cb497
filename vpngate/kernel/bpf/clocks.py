# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether programs and this process go by one clock.

Knows that a time namespace gives a process a CLOCK_MONOTONIC of its own, and programs
none: until when something holds would be another moment for them. Does not know what
is told in times.
"""

import struct
import time
from contextlib import ExitStack, closing

from vpngate.errors import MissingFeature, Problem
from vpngate.kernel.bpf import programs
from vpngate.kernel.bpf.assembly import R0, R1, R6, ActionCode, Assembly
from vpngate.kernel.bpf.maps import index, mapped_array
from vpngate.kernel.bpf.syscall import Helper

_FRAME = bytes(14)
_SLACK = 10_000_000  # nanoseconds: what is promised is ten times as long


def expect_one_clock() -> None:
    """MissingFeature if there are two; else whatever a program is refused with."""
    before = time.monotonic_ns()
    now = _of_programs()
    after = time.monotonic_ns()
    if not before - _SLACK <= now <= after + _SLACK:
        seconds = (before - now) / 10**9
        raise MissingFeature(
            Problem(
                "clock",
                f"is {seconds:+.2f} s apart from that of programs (a time namespace):"
                " they would slow for longer than they are told, or not at all",
                'run it outside of one, or choose gateway.plane = "nftables"',
            )
        )


def _of_programs() -> int:
    """Nanoseconds, as a program reads them."""
    with ExitStack() as stack:
        told = stack.enter_context(closing(mapped_array("clock", 8)))
        code = Assembly().call(Helper.NOW).set(R6, R0).map_value(R1, told)
        code.store(8, R1, 0, R6).exit(ActionCode.NEXT)
        program = programs.load(code.assembled(), "vpngate_clock")
        stack.callback(programs.close, program)
        programs.try_out(program, _FRAME)
        (now,) = struct.unpack("=Q", told.get(index(0)) or bytes(8))
        return int(now)
