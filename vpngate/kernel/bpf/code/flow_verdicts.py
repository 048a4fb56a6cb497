# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether a packet's flow has a verdict.

Knows how a flow's key is put together, and that nearly all packets are told from two
bits that they have none; does not know what a verdict leads to. Of a transport with
ports the packet has to have them; of one whose tunnels say something of its header, it
has to say that. A later fragment has neither.
"""

from collections.abc import Sequence
from typing import NamedTuple

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
)
from vpngate.kernel.bpf.code.finding import (
    ADDRESSES_AT,
    HEADER_AT,
    LATER,
    SCRATCH_AT,
    copy,
    load_ends,
)
from vpngate.kernel.bpf.code.recognising import compare_fields
from vpngate.kernel.bpf.maps import Map
from vpngate.kernel.bpf.plane_maps import (
    CLASS_AT,
    FIRST_BIT_AT,
    MIX,
    SECOND_BIT_AT,
    UNTIL_AT,
    WORD_BITS,
)
from vpngate.kernel.bpf.syscall import Helper
from vpngate.packets import Family
from vpngate.recognition import Carrier

KEY_AT = -88  # on the stack
_PORTS = 4  # bytes


class KnownFlows(NamedTuple):
    """Those of one direction and family.

    bits      what tells whether one may have a verdict
    verdicts  those that have
    carriers  what they travel on
    """

    bits: Map
    verdicts: Map
    carriers: Sequence[Carrier]


def find_verdict(
    code: Assembly,
    family: Family,
    link_header: int,
    flows: KnownFlows,
    exits: tuple[str, str],
) -> None:
    """From `found(family)` to the exits: it has one that lives, or none.

    With one, R0 points to it. R6 to R9 stay as they are.
    """
    bits, verdicts, carriers = flows
    has_one, has_none = exits
    ported, portless, known = (code.fresh() for _ in range(3))
    for carrier in carriers:
        if carrier.transport.has_ports:
            code.jump("==", R8, carrier.transport, ported)
    for carrier in carriers:
        if not carrier.transport.has_ports:
            other = code.fresh()
            code.jump("!=", R8, carrier.transport, other)
            if carrier.fields:
                code.jump("&", R9, LATER, has_none)
                size = max(field.end for field in carrier.fields)
                copy(code, (R7, size), HEADER_AT, has_none)
                compare_fields(code, carrier.fields, HEADER_AT, has_none)
            code.goto(portless).label(other)
    code.goto(has_none)
    code.label(ported).jump("&", R9, LATER, has_none)
    _sift(code, family, link_header, bits, (known, has_none))
    code.label(known)
    copy(code, (R7, _PORTS), SCRATCH_AT, has_none)
    _write_key(code, family, link_header, has_none)
    code.load(4, R0, STACK, SCRATCH_AT)
    code.store(4, STACK, KEY_AT + 2 * family.width, R0)
    looked_up = code.fresh()
    code.goto(looked_up).label(portless)
    _write_key(code, family, link_header, has_none)
    code.label(looked_up)
    look_up(code, verdicts, has_none)
    code.store(8, STACK, SCRATCH_AT, R0).call(Helper.NOW)
    code.set(R1, R0).load(8, R0, STACK, SCRATCH_AT)
    code.load(8, R2, R0, UNTIL_AT).jump(">=", R1, R2, has_none).goto(has_one)


def look_up(code: Assembly, verdicts: Map, has_none: str) -> None:
    """R0 becomes the verdict on the key, one that leads somewhere."""
    code.map(R1, verdicts).set(R2, STACK).compute("+", R2, KEY_AT)
    code.call(Helper.MAP_LOOKUP).jump("==", R0, 0, has_none)
    code.load(4, R1, R0, CLASS_AT).jump("==", R1, 0, has_none)


def _write_key(code: Assembly, family: Family, link_header: int, has_none: str) -> None:
    """Without ports."""
    size = 2 * family.width
    # What is in SCRATCH stays: these go elsewhere.
    copy(code, (link_header + ADDRESSES_AT[family], size), KEY_AT, has_none)
    code.store(4, STACK, KEY_AT + size, 0)
    code.store(4, STACK, KEY_AT + size + _PORTS, R8)


def _sift(
    code: Assembly,
    family: Family,
    link_header: int,
    bits: Map,
    exits: tuple[str, str],
) -> None:
    """Tell from two bits whether it may have a verdict, without a copy or a call.

    Both are in one word. What does not lie in one piece may have.
    """
    may_have, has_none = exits
    at = link_header + ADDRESSES_AT[family]
    load_ends(code)
    code.set(R5, R4).compute("+", R5, R7)
    code.set(R1, R4).compute("+", R1, at + 2 * family.width)
    code.jump(">", R1, R3, may_have)
    code.set(R1, R5).compute("+", R1, _PORTS).jump(">", R1, R3, may_have)
    code.wide(R2, MIX)
    code.load(8, R0, R4, at).compute("*", R0, R2)
    for word in range(8, 2 * family.width, 8):
        code.load(8, R1, R4, at + word).compute("^", R0, R1).compute("*", R0, R2)
    code.set(R1, R8).compute("<<", R1, 32).load(4, R3, R5, 0).compute("|", R1, R3)
    code.compute("^", R0, R1).compute("*", R0, R2)
    code.set(R1, R0).compute(">>", R1, FIRST_BIT_AT + WORD_BITS).compute("<<", R1, 3)
    code.map_value(R2, bits).compute("+", R2, R1).load(8, R2, R2, 0)
    # A shift goes by the lower six bits of a register (RFC 9669, section 4.1).
    code.set(R1, R0).compute(">>", R1, FIRST_BIT_AT).compute(">>", R0, SECOND_BIT_AT)
    code.set(R3, R2).compute(">>", R3, R1).compute(">>", R2, R0)
    code.compute("&", R2, R3).compute("&", R2, 1).jump("==", R2, 0, has_none)


def keep_for_a_stage(code: Assembly) -> None:
    """What a stage has to know of the packet: `transport_from_main` gives it back."""
    code.store(4, R6, Context.SCRATCH, R7).store(4, R6, Context.SCRATCH + 4, R8)


def transport_from_main(code: Assembly, farthest: int, nothing: str) -> None:
    """R7 and R8 become what they were in the program before."""
    code.load(4, R7, R6, Context.SCRATCH).jump(">", R7, farthest, nothing)
    code.load(4, R8, R6, Context.SCRATCH + 4)
