# SPDX-License-Identifier: GPL-2.0-or-later
"""Where a packet's transport header begins, and of which transport it is.

Knows what a netdev hook takes for a sound packet (the predicate in
`signatures/predicate.py` says it in Python): IPv4 and IPv6, options, extension
headers, fragments, packets that are shorter than they say; does not know what is asked
of them. Nearly all packets are read where they lie. One whose headers are not in one
piece is read by copies on the stack, as are extension headers.

Behind it registers hold, until others are put there:

    R6  the context
    R7  where the transport header begins, counted from the packet's start
    R8  the transport
    R9  FRAGMENT: the packet is a first fragment; LATER: it is another one, and what is
        at R7 is no header; 0: it is whole
"""

from collections.abc import Iterable

from vpngate.kernel.bpf.assembly import (
    R0,
    R1,
    R2,
    R3,
    R4,
    R6,
    R7,
    R8,
    R9,
    STACK,
    Assembly,
    Context,
    Register,
)
from vpngate.kernel.bpf.syscall import Helper
from vpngate.packets import Family, Transport
from vpngate.signatures import headers

WHOLE, FRAGMENT, LATER = 0, 1, 2

# On the stack, below its end: an IP header, and behind it what nobody keeps.
HEADER_AT = -48
SCRATCH_AT, SCRATCH = -8, 8

_IPV4, _IPV6 = 0x0008, 0xDD86  # EtherTypes, as the machine loads them
IPV4_HEADER = 20
# Where the two addresses begin, side by side.
ADDRESSES_AT = {Family.IPV4: 12, Family.IPV6: 8}
_LENGTH_AT = {Family.IPV4: 2, Family.IPV6: 4}
_NEXT_AT = {Family.IPV4: 9, Family.IPV6: 6}
# Extension headers that are passed over: more than anybody sends. RFC 8504, section
# 5.3, lets a host be content with fewer.
MOST_EXTENSIONS = 12
_FARTHEST = 0x7FFF  # bytes from the packet's start to a transport header
# What has to be there of a header that is passed over, bytes.
_SHORT, _LONG = 2, 4
_PASSED = {
    headers.IPV6_HOP_BY_HOP: _SHORT,
    headers.IPV6_ROUTING: _LONG,
    headers.IPV6_FRAGMENT: _LONG,
    headers.IPV6_DESTINATION_OPTIONS: _SHORT,
}
# What a later fragment of IPv6 may not begin with: also authentication.
_EXTENSIONS = (*_PASSED, 51)


def found(family: Family) -> str:
    """The label that a packet of that family is led to, its headers found."""
    return f"{family.label} found"


def find(code: Assembly, link_header: int, nothing: str) -> None:
    """From the program's beginning, R6 being set, to `found(family)`.

    `link_header` is how many bytes stand before the IP header; `nothing` is where
    packets go that are not sound, or of no transport that could be asked about.
    """
    code.load(4, R0, R6, Context.PROTOCOL)
    code.jump("==", R0, _IPV4, Family.IPV4.label)
    code.jump("!=", R0, _IPV6, nothing)
    for family, size in (
        (Family.IPV6, headers.IPV6_HEADER),
        (Family.IPV4, IPV4_HEADER),
    ):
        slow = code.fresh()
        code.label(family.label)
        load_ends(code)
        code.set(R1, R4).compute("+", R1, link_header + size)
        code.jump(">", R1, R3, slow)
        _read(code, family, (R4, link_header), link_header, nothing)
        code.label(slow)
        copy(code, (link_header, size), HEADER_AT, nothing)
        _read(code, family, (STACK, HEADER_AT), link_header, nothing)


def load_ends(code: Assembly) -> None:
    """R4 becomes where the packet begins, R3 where its first piece ends."""
    code.load(4, R4, R6, Context.DATA).load(4, R3, R6, Context.DATA_END)


def copy(
    code: Assembly, what: tuple[int | Register, int], to: int, missing: str
) -> None:
    """Copy so many bytes from there in the packet to a place of the stack.

    R0 to R5 are gone then. `missing` is where packets go that have not got them.
    """
    at, size = what
    code.set(R2, at).set(R1, R6)
    code.set(R3, STACK).compute("+", R3, to).set(R4, size)
    code.call(Helper.LOAD_BYTES).jump("!=", R0, 0, missing)


def _read(
    code: Assembly,
    family: Family,
    header: tuple[Register, int],
    link_header: int,
    nothing: str,
) -> None:
    """Judge the IP header that is at `header`, a register and an offset."""
    base, at = header
    code.load(1, R7, base, at).set(R0, R7).compute(">>", R0, 4)
    code.jump("!=", R0, family, nothing)
    code.load(2, R1, base, at + _LENGTH_AT[family]).to_network(R1, 16)
    if family is Family.IPV4:
        code.compute("&", R7, 15).compute("<<", R7, 2)
        code.jump("<", R7, IPV4_HEADER, nothing).jump("<", R1, R7, nothing)
    else:
        code.set(R7, headers.IPV6_HEADER).compute("+", R1, headers.IPV6_HEADER)
    code.compute("+", R1, link_header).load(4, R2, R6, Context.LENGTH)
    code.jump(">", R1, R2, nothing)
    code.load(1, R8, base, at + _NEXT_AT[family])
    code.compute("+", R7, link_header).set(R9, WHOLE)
    if family is Family.IPV4:
        _tell_fragments(code, base, at + headers.IPV4_FRAGMENT_AT)
    else:
        _pass_extensions(code, nothing)


def _tell_fragments(code: Assembly, base: Register, at: int) -> None:
    """Of IPv4, where it is said in the header."""
    whole, later = found(Family.IPV4), code.fresh()
    offset, more = headers.IPV4_FRAGMENT_OFFSET, headers.IPV4_MORE_FRAGMENTS
    code.load(2, R0, base, at).to_network(R0, 16).compute("&", R0, offset | more)
    code.jump("==", R0, 0, whole)
    code.jump("&", R0, offset, later).set(R9, FRAGMENT).goto(whole)
    code.label(later).set(R9, LATER).goto(whole)


def _pass_extensions(code: Assembly, nothing: str) -> None:
    """R7 and R8 become what is behind the extension headers, if there are any."""
    for transport in (Transport.UDP, Transport.TCP):  # nearly all there is
        code.jump("==", R8, transport, found(Family.IPV6))
    for _ in range(MOST_EXTENSIONS):
        _pass_one(code, nothing)
    _jump_if_one_of(code, _PASSED, nothing)
    code.goto(found(Family.IPV6))


def _pass_one(code: Assembly, nothing: str) -> None:
    known, short, read, behind = (code.fresh() for _ in range(4))
    _jump_if_one_of(code, _PASSED, known)
    code.goto(found(Family.IPV6)).label(known)
    code.jump(">", R7, _FARTHEST, nothing)
    _jump_if_one_of(
        code, [one for one, size in _PASSED.items() if size == _SHORT], short
    )
    copy(code, (R7, _LONG), SCRATCH_AT, nothing)
    code.jump("!=", R8, headers.IPV6_FRAGMENT, read)
    _pass_fragment(code, nothing)
    code.goto(behind).label(short)
    copy(code, (R7, _SHORT), SCRATCH_AT, nothing)
    code.label(read).load(1, R8, STACK, SCRATCH_AT)
    code.load(1, R0, STACK, SCRATCH_AT + 1)
    code.compute("+", R0, 1).compute("<<", R0, 3).compute("+", R7, R0)
    # To where the verifier keeps no account of what is in it, and back: else it goes
    # through what follows once for each way of getting here.
    code.label(behind).store(2, STACK, SCRATCH_AT + 4, R7)
    code.load(2, R7, STACK, SCRATCH_AT + 4).jump(">", R7, _FARTHEST, nothing)


def _pass_fragment(code: Assembly, nothing: str) -> None:
    """Pass the fragment header in SCRATCH, unless it is a later fragment's."""
    later, first = code.fresh(), code.fresh()
    code.load(1, R8, STACK, SCRATCH_AT)
    code.load(2, R0, STACK, SCRATCH_AT + 2).to_network(R0, 16)
    code.jump("&", R0, headers.IPV6_FRAGMENT_OFFSET, later)
    code.set(R9, FRAGMENT).compute("+", R7, headers.IPV6_FRAGMENT_HEADER)
    code.goto(first).label(later).set(R9, LATER)
    _jump_if_one_of(code, _EXTENSIONS, nothing)
    code.goto(found(Family.IPV6)).label(first)


def _jump_if_one_of(code: Assembly, numbers: Iterable[int], to: str) -> None:
    for number in numbers:
        code.jump("==", R8, number, to)
