# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether an address is among those that nothing slows, searched without a branch.

Knows how sorted bounds are searched (`spared_arrays.py` says how they lie); does not
know what becomes of who is found. Binary search, each step of the same instructions
whatever the answer: some 20 steps of 7 for IPv4, of 20 for IPv6, twice a packet that is
about to be slowed.
"""

from vpngate.kernel.bpf.assembly import (
    R0,
    R1,
    R2,
    R3,
    R4,
    R5,
    R6,
    R7,
    R8,
    R9,
    STACK,
    Assembly,
    Context,
    Register,
)
from vpngate.kernel.bpf.code.finding import ADDRESSES_AT, SCRATCH_AT, copy
from vpngate.kernel.bpf.code.sifting import signed
from vpngate.kernel.bpf.spared_arrays import WIDTHS, Few, Searched, SparedArrays
from vpngate.kernel.bpf.syscall import Helper
from vpngate.packets import Family

# On the stack: both addresses, where a flow's key begins.
ADDRESSES_ON_STACK = -88
_IPV4, _IPV6 = 0x0008, 0xDD86
_HALF = 64
_NAMED = {Family.IPV4: _IPV4, Family.IPV6: _IPV6}


def load_addresses(code: Assembly, link_header: int, nothing: str) -> None:
    """Both addresses go to the stack; goes on at `addresses_of(family)`."""
    code.load(4, R0, R6, Context.PROTOCOL)
    for family, protocol in _NAMED.items():
        code.jump("==", R0, protocol, f"load {family.label}")
    code.goto(nothing)
    for family in Family:
        code.label(f"load {family.label}")
        size = 2 * family.width
        at = link_header + ADDRESSES_AT[family]
        copy(code, (at, size), ADDRESSES_ON_STACK, nothing)
        code.goto(addresses_of(family))


def addresses_of(family: Family) -> str:
    """The label where the addresses of a packet of that family are on the stack."""
    return f"addresses {family.label}"


def ask(
    code: Assembly,
    family: Family,
    sets: tuple[tuple[Few, int], SparedArrays],
    exits: tuple[str, str],
) -> None:
    """Leave by the first exit if either address is in one of the sets.

    By the other one if a small set cannot be asked. R7 to R9 are gone then. `sets` are
    one of the small ones, by its number, and the large one.
    """
    (few, number), large = sets
    inside, unasked = exits
    code.store(4, STACK, SCRATCH_AT, number)
    code.map(R1, few.outer).set(R2, STACK).compute("+", R2, SCRATCH_AT)
    code.call(Helper.MAP_LOOKUP).jump("==", R0, 0, unasked)
    code.store(4, STACK, SCRATCH_AT, 0)
    code.set(R1, R0).set(R2, STACK).compute("+", R2, SCRATCH_AT)
    code.call(Helper.MAP_LOOKUP).jump("==", R0, 0, unasked)
    code.compute("+", R0, few.at[family])
    for end in range(2):
        _load(code, family, end)
        _search(code, family, few.steps, inside)
    searched = large.searched[family]
    for end in range(2):
        _load(code, family, end)
        _choose(code, family, searched)
        _search(code, family, searched.steps, inside)


def _load(code: Assembly, family: Family, end: int) -> None:
    """R3, for IPv6 R3 and R4, become an address as numbers."""
    at = ADDRESSES_ON_STACK + end * family.width
    if family is Family.IPV4:
        code.load(4, R3, STACK, at).to_network(R3, 32)
    else:
        code.load(8, R3, STACK, at).to_network(R3, 64)
        code.load(8, R4, STACK, at + 8).to_network(R4, 64)


def _choose(code: Assembly, family: Family, searched: Searched) -> None:
    """R0 becomes the array that an address would be in."""
    chosen = code.fresh()
    pairs = list(zip(searched.maps, searched.begin, strict=True))
    for one, begin in reversed(pairs[1:]):
        below = code.fresh()
        _jump_if_below(code, family, begin, below)
        code.map_value(R0, one).goto(chosen).label(below)
    code.map_value(R0, searched.maps[0]).label(chosen)


def _jump_if_below(code: Assembly, family: Family, begin: int, to: str) -> None:
    if family is Family.IPV4:
        code.jump("<", R3, signed(begin), to, 32)
        return
    not_below = code.fresh()
    upper, lower = begin >> _HALF, begin & (1 << _HALF) - 1
    code.wide(R1, upper).jump("<", R3, R1, to).jump("!=", R3, R1, not_below)
    code.wide(R1, lower).jump("<", R4, R1, to).label(not_below)


def _search(code: Assembly, family: Family, steps: int, inside: str) -> None:
    """Go to `inside` if an odd number of bounds, from R0 on, is not above it."""
    width = WIDTHS[family]
    code.set(R5, 0)
    for step in reversed(range(steps)):
        code.set(R1, R5).compute("<<", R1, width.bit_length() - 1)
        code.set(R2, R0).compute("+", R2, R1)
        code.compute("+", R2, ((1 << step) - 1) * width)
        if family is Family.IPV4:
            code.load(4, R9, R2, 0).compute("-", R9, R3).compute("-", R9, 1)
            code.compute(">>", R9, _HALF - 1)
        else:
            _compare_wide(code)
        code.compute("<<", R9, step).compute("+", R5, R9)
    code.compute("&", R5, 1).jump("!=", R5, 0, inside)


def _compare_wide(code: Assembly) -> None:
    """R9 becomes 1 if the bound at R2 is not above the address, else 0."""
    code.load(8, R7, R2, 0).load(8, R8, R2, 8)
    _borrow(code, R4, R8, None)
    # R8 is free now: it takes what the lower halves borrow.
    code.set(R8, R9)
    _borrow(code, R3, R7, R8)
    code.compute("^", R9, 1)


def _borrow(
    code: Assembly, left: Register, right: Register, before: Register | None
) -> None:
    """R9 becomes what left - right borrows, less another borrow: 1 or 0."""
    code.set(R1, left).compute("-", R1, right)
    if before is not None:
        code.compute("-", R1, before)
    code.set(R9, left).compute("^", R9, -1)
    code.set(R2, R9).compute("|", R2, right).compute("&", R2, R1)
    code.compute("&", R9, right).compute("|", R9, R2).compute(">>", R9, _HALF - 1)
