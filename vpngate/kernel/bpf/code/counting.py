# SPDX-License-Identifier: GPL-2.0-or-later
"""What programs count, each processor for itself.

Knows how a counter is found and raised; does not know what is counted.
"""

from vpngate.kernel.bpf.assembly import R0, R1, R2, R3, STACK, Assembly, Register
from vpngate.kernel.bpf.code.finding import SCRATCH_AT
from vpngate.kernel.bpf.maps import Map
from vpngate.kernel.bpf.plane_maps import count_at
from vpngate.kernel.bpf.syscall import Helper


def count(code: Assembly, counters: Map, name: str) -> None:
    """One packet more; R0 to R5 are gone then, and what is in SCRATCH."""
    missing = code.fresh()
    _find(code, counters, missing)
    at = count_at(name)
    code.load(8, R1, R0, at).compute("+", R1, 1).store(8, R0, at, R1)
    code.label(missing)


def count_with_bytes(
    code: Assembly, counters: Map, name: str, octets: Register
) -> None:
    """The same, and so many bytes: of R6 to R9."""
    missing = code.fresh()
    _find(code, counters, missing)
    at = count_at(name)
    code.load(8, R1, R0, at).compute("+", R1, 1).store(8, R0, at, R1)
    code.load(8, R3, R0, at + 8).compute("+", R3, octets).store(8, R0, at + 8, R3)
    code.label(missing)


def _find(code: Assembly, counters: Map, missing: str) -> None:
    code.store(4, STACK, SCRATCH_AT, 0)
    code.map(R1, counters).set(R2, STACK).compute("+", R2, SCRATCH_AT)
    code.call(Helper.MAP_LOOKUP).jump("==", R0, 0, missing)
