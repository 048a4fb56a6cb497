# SPDX-License-Identifier: GPL-2.0-or-later
"""Candidates handed to the daemon: who is asked first, who gets how many, the copy.

Knows the order (does its source live where it came from? is it of interest? has an
address had its share? has its kind?) that `ruleset/copying.py` and `ruleset/sharing.py`
have for nftables; does not know signatures. A limit is the time at which the next copy
is due (GCRA): two processors at once may pass one too many.
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
from vpngate.kernel.bpf.code.asking import ADDRESSES_ON_STACK
from vpngate.kernel.bpf.code.counting import count
from vpngate.kernel.bpf.maps import Map
from vpngate.kernel.bpf.plane_maps import (
    ADDRESS_SIZE,
    AHEAD_AT,
    BETWEEN_AT,
    DUE_AT,
    LIMIT_SIZE,
    LONG_AGO,
    PAIR_SIZE,
    RING_FULL,
    PlaneMaps,
    Stand,
)
from vpngate.kernel.bpf.syscall import Helper
from vpngate.packets import Family
from vpngate.ruleset import names
from vpngate.ruleset.copying import SAMPLE
from vpngate.ruleset.ring_records import LONG_COPY, RECORD_HEADER, SHORT_COPY
from vpngate.ruleset.sharing import CopyShare

# On the stack: the key of a map of limits, and what bpf_fib_lookup is told.
_LIMITED_AT = -136
_QUESTION_AT, _QUESTION_SIZE = -200, 64
_VALUE_AT = -8
_SECOND = 10**9
_FAMILY_NUMBERS = {Family.IPV4: 2, Family.IPV6: 10}  # AF_INET, AF_INET6
_FOUND, _NEIGHBOUR_UNKNOWN = 0, 7  # BPF_FIB_LKUP_RET_*
_LINK_LOCAL = 0x80FE  # the first two bytes of fe80::/10, as far as anybody uses it
# In struct bpf_fib_lookup: family, interface, source, destination.
_FAMILY_IN, _INTERFACE_IN, _SOURCE_IN, _DESTINATION_IN = 0, 8, 16, 32


def lives_there(code: Assembly, family: Family, forged: str) -> None:
    """Go to `forged` if the way back to its source is not where it came in by.

    Asked as if it was forwarded the other way. What is of this link alone lives here.
    """
    lives = code.fresh()
    source = ADDRESSES_ON_STACK
    if family is Family.IPV6:
        code.load(2, R0, STACK, source).compute("&", R0, 0xC0FF)
        code.jump("==", R0, _LINK_LOCAL, lives)
    for at in range(_QUESTION_AT, _QUESTION_AT + _QUESTION_SIZE, 8):
        code.store(8, STACK, at, 0)
    code.store(1, STACK, _QUESTION_AT + _FAMILY_IN, _FAMILY_NUMBERS[family])
    code.load(4, R9, R6, Context.INTERFACE)
    code.store(4, STACK, _QUESTION_AT + _INTERFACE_IN, R9)
    for word in range(0, family.width, 4):
        code.load(4, R0, STACK, source + word)
        code.store(4, STACK, _QUESTION_AT + _DESTINATION_IN + word, R0)
        code.load(4, R0, STACK, source + family.width + word)
        code.store(4, STACK, _QUESTION_AT + _SOURCE_IN + word, R0)
    code.set(R1, R6).set(R2, STACK).compute("+", R2, _QUESTION_AT)
    code.set(R3, _QUESTION_SIZE).set(R4, 0).call(Helper.FIB_LOOKUP)
    answered = code.fresh()
    code.jump("==", R0, _FOUND, answered).jump("!=", R0, _NEIGHBOUR_UNKNOWN, forged)
    code.label(answered).load(4, R0, STACK, _QUESTION_AT + _INTERFACE_IN)
    code.jump("!=", R0, R9, forged).label(lives)


def within_share(
    code: Assembly, family: Family, shares: Map, share: CopyShare, beyond: str
) -> None:
    """Go to `beyond` if the address at that end has had its share."""
    at = ADDRESSES_ON_STACK + (family.width if share.end == "destination" else 0)
    code.load(4, R0, STACK, at).store(4, STACK, _LIMITED_AT, R0)
    if family is Family.IPV4:
        code.store(4, STACK, _LIMITED_AT + 4, 0)
    else:
        code.load(4, R0, STACK, at + 4).store(4, STACK, _LIMITED_AT + 4, R0)
    code.store(4, STACK, _LIMITED_AT + ADDRESS_SIZE - 4, family)
    _within(code, shares, _SECOND // share.rate, share.rate, beyond)


def is_new_pair(code: Assembly, family: Family, pairs: Map, known: str) -> None:
    """Go on with a pair of addresses that has not been sampled lately, R8 its kind."""
    _write_pair(code, family)
    code.map(R1, pairs).set(R2, STACK).compute("+", R2, _LIMITED_AT)
    code.call(Helper.MAP_LOOKUP).jump("!=", R0, 0, known)


def within_sample(code: Assembly, family: Family, pairs: Map, beyond: str) -> None:
    """Go to `beyond` if enough of this pair has been copied for now, R8 its kind."""
    _write_pair(code, family)
    between = SAMPLE.seconds * _SECOND // SAMPLE.rate
    _within(code, pairs, between, SAMPLE.burst, beyond)


def _write_pair(code: Assembly, family: Family) -> None:
    for word in range(0, PAIR_SIZE - 8, 8):
        if word < 2 * family.width:
            code.load(8, R0, STACK, ADDRESSES_ON_STACK + word)
            code.store(8, STACK, _LIMITED_AT + word, R0)
        else:
            code.store(8, STACK, _LIMITED_AT + word, 0)
    code.store(8, STACK, _LIMITED_AT + PAIR_SIZE - 8, R8)


def _within(code: Assembly, limits: Map, between: int, burst: int, beyond: str) -> None:
    """Go to `beyond` where what is under the key is beyond its limit."""
    ahead = (burst - 1) * between
    is_known, done, now = code.fresh(), code.fresh(), R9
    code.call(Helper.NOW).set(now, R0).wide(R1, LONG_AGO).compute("+", now, R1)
    code.map(R1, limits).set(R2, STACK).compute("+", R2, _LIMITED_AT)
    code.call(Helper.MAP_LOOKUP).jump("!=", R0, 0, is_known)
    code.set(R1, now).wide(R2, ahead - between).compute("-", R1, R2)
    code.store(8, STACK, _VALUE_AT, R1)
    code.map(R1, limits).set(R2, STACK).compute("+", R2, _LIMITED_AT)
    code.set(R3, STACK).compute("+", R3, _VALUE_AT).set(R4, 0)
    code.call(Helper.MAP_UPDATE).goto(done)
    code.label(is_known)
    code.wide(R2, ahead).wide(R3, between)
    _advance(code, (R2, R3), beyond)
    code.label(done)


def _advance(code: Assembly, limit: tuple[Register, Register], beyond: str) -> None:
    """Take one from what R0 points to, R9 being now; R1 is used."""
    ahead, between = limit
    late = code.fresh()
    code.load(8, R1, R0, DUE_AT).set(R4, R9).compute("-", R4, ahead)
    code.jump(">=", R1, R4, late).set(R1, R4).label(late)
    code.jump(">", R1, R9, beyond).compute("+", R1, between).store(8, R0, DUE_AT, R1)


def within_kind(
    code: Assembly, limits: Map, first: int, many: int, beyond: str
) -> None:
    """Go to `beyond` if its kind, R8, has had its copies.

    The limits of the hook begin with that number; R8 is below `many`.
    """
    code.call(Helper.NOW).set(R9, R0).wide(R1, LONG_AGO).compute("+", R9, R1)
    code.jump(">=", R8, many, beyond)
    code.set(R5, R8).compute("*", R5, LIMIT_SIZE)
    code.map_value(R0, limits, first * LIMIT_SIZE).compute("+", R0, R5)
    code.load(8, R2, R0, AHEAD_AT).load(8, R3, R0, BETWEEN_AT)
    _advance(code, (R2, R3), beyond)


def hand_out(code: Assembly, maps: PlaneMaps, stand: Stand) -> None:
    """Copy the packet into the ring, from its IP header on; R8 is its kind.

    R7 and R9 are gone then. What finds no room is counted.
    """
    done, full = code.fresh(), code.fresh()
    long = code.fresh()
    code.load(4, R9, R6, Context.LENGTH).compute("-", R9, stand.link_header)
    code.jump(">", R9, SHORT_COPY, long)
    for size, label in ((SHORT_COPY, ""), (LONG_COPY, long)):
        if label:
            code.label(label)
        _hand_out(code, maps.ring, stand, size, (full, done))
    code.label(full)
    count(code, maps.counters, RING_FULL)
    code.label(done)


def _hand_out(
    code: Assembly,
    ring: Map,
    stand: Stand,
    room: int,
    exits: tuple[str, str],
) -> None:
    full, done = exits
    fits, some, discard = code.fresh(), code.fresh(), code.fresh()
    code.map(R1, ring).set(R2, RECORD_HEADER + room).set(R3, 0)
    code.call(Helper.RING_RESERVE).jump("==", R0, 0, full).set(R7, R0)
    code.load(4, R1, R6, Context.INTERFACE).store(4, R7, 0, R1)
    code.store(2, R7, 4, R8).store(1, R7, 6, stand.point)
    code.load(4, R1, R6, Context.PROTOCOL).store(1, R7, 7, R1)
    code.store(4, R7, 8, R9)
    code.set(R4, R9).jump("<=", R4, room, fits).set(R4, room).label(fits)
    code.jump(">=", R4, 1, some).goto(discard).label(some)
    code.store(4, R7, 12, R4)
    code.set(R1, R6).set(R2, stand.link_header).set(R3, R7).compute(
        "+", R3, RECORD_HEADER
    )
    code.call(Helper.LOAD_BYTES).jump("!=", R0, 0, discard)
    code.set(R1, R7).set(R2, 0).call(Helper.RING_SUBMIT).goto(done)
    code.label(discard).set(R1, R7).set(R2, 0).call(Helper.RING_DISCARD).goto(done)


def held_back(code: Assembly, maps: PlaneMaps, by_address: str, by_kind: str) -> None:
    """What becomes of packets beyond a limit: counted, and on their way."""
    for label, name in (
        (by_address, names.HELD_BACK_BY_ADDRESS),
        (by_kind, names.HELD_BACK_BY_SIGNATURE),
    ):
        code.label(label)
        count(code, maps.counters, name)
        code.goto("out")
