# SPDX-License-Identifier: GPL-2.0-or-later
"""The programs that a packet goes on at: slowed, copied, or met where others wait.

Knows the order that keeps the promise: armed, spared, and only then anything that
changes a packet. Does not know how a packet comes here: by a tail call through an
array that ends with the daemon, so that none of this is done without one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from vpngate.kernel.bpf import ipsec_paths
from vpngate.kernel.bpf.assembly import (
    R0,
    R1,
    R2,
    R3,
    R6,
    R7,
    R8,
    R9,
    STACK,
    ActionCode,
    Assembly,
    Context,
)
from vpngate.kernel.bpf.code import handing
from vpngate.kernel.bpf.code.asking import (
    ADDRESSES_ON_STACK,
    addresses_of,
    ask,
    load_addresses,
)
from vpngate.kernel.bpf.code.counting import count
from vpngate.kernel.bpf.code.finding import SCRATCH_AT, copy
from vpngate.kernel.bpf.code.flow_verdicts import KEY_AT, look_up, transport_from_main
from vpngate.kernel.bpf.code.way_back import TAG_BITS, Bound, PairTag, hand_over
from vpngate.kernel.bpf.plane_maps import (
    ARMED_AT,
    CLAIM_AT,
    CLASS_AT,
    DEVICE_AT,
    ENDS_AT,
    IDLE_AT,
    SETTLING_AT,
    TIME_AT,
    TOLD_AT,
    UNTIL_AT,
    WAITING_RECORDS,
    WHOLE_AT,
    PlaneMaps,
    Stand,
    waiting_at,
)
from vpngate.kernel.bpf.spared_arrays import Few, SparedArrays
from vpngate.kernel.bpf.syscall import Helper
from vpngate.packets import Direction, Family, HookPoint
from vpngate.recognition import Carrier
from vpngate.ruleset import Ruleset, names, sharing
from vpngate.ruleset.ring_records import A_WITNESS, RECORD_HEADER, SHORT_COPY
from vpngate.signatures import Signature

_SECOND = 10**9
_FARTHEST = 0x7FFF + 2048  # bytes to a transport header
_ETHERNET = 14
PROTECTED, WATCHED = 0, 1  # numbers of the small sets


@dataclass(frozen=True, eq=False)
class PlaneParts:
    """What all programs of a plane are made of."""

    ruleset: Ruleset
    signatures: Sequence[Signature]  # in the order of their numbers
    maps: PlaneMaps
    few: Few
    spared: SparedArrays

    def direction(self, point: HookPoint) -> Direction:
        """Of packets that are met at that hook."""
        upload = (point is HookPoint.INGRESS) is self.ruleset.subscriber_side
        return Direction.UPLOAD if upload else Direction.DOWNLOAD

    def sampled(self, carrier: Carrier) -> list[int]:
        """The numbers of signatures of that transport that every packet has."""
        return [
            number
            for number, one in enumerate(self.signatures)
            if one.sampled and one.transport is carrier.transport
        ]


def throttling(told: PlaneParts, stand: Stand) -> bytes:
    """For a packet whose flow has a verdict."""
    code = _begin()
    code.call(Helper.NOW).map_value(R1, told.maps.times)
    code.load(8, R1, R1, ARMED_AT).jump(">=", R0, R1, "out")
    ipsec_paths.leave_alone(code, "out")
    load_addresses(code, stand.link_header, "out")
    for family in Family:
        code.label(addresses_of(family))
        _leave_spared_alone(code, told, family, PROTECTED, _counted_as_spared(told))
        _slow(code, told, stand, family)
    return _end(code)


def _counted_as_spared(told: PlaneParts) -> Callable[[Assembly, Family], None]:
    def counted(code: Assembly, family: Family) -> None:
        count(code, told.maps.counters, names.spared_counter(family))

    return counted


def _leave_spared_alone(
    code: Assembly,
    told: PlaneParts,
    family: Family,
    number: int,
    then: Callable[[Assembly, Family], None],
) -> None:
    inside, outside = code.fresh(), code.fresh()
    ask(code, family, ((told.few, number), told.spared), (inside, "out"))
    code.goto(outside).label(inside)
    then(code, family)
    code.goto("out").label(outside)


def _slow(code: Assembly, told: PlaneParts, stand: Stand, family: Family) -> None:
    """Refresh, and last of all touch the packet, count it and send it off."""
    direction = told.direction(stand.point)
    transport_from_main(code, _FARTHEST, "out")
    for carrier in told.ruleset.carriers:
        for number in told.sampled(carrier):
            other = code.fresh()
            code.jump("!=", R8, carrier.transport, other)
            _watch(code, told, stand, family, number)
            code.label(other)
    transport_from_main(code, _FARTHEST, "out")
    size, ported, keyed = 2 * family.width, code.fresh(), code.fresh()
    code.store(4, STACK, KEY_AT + size, 0).store(4, STACK, KEY_AT + size + 4, R8)
    for carrier in told.ruleset.carriers:
        if carrier.transport.has_ports:
            code.jump("==", R8, carrier.transport, ported)
    code.goto(keyed).label(ported)
    copy(code, (R7, 4), KEY_AT + size, "out")
    code.label(keyed)
    look_up(code, told.maps.verdicts[direction, family], "out")
    code.set(R9, R0).load(4, R8, R9, CLASS_AT).load(4, R7, R9, DEVICE_AT)
    code.jump("==", R7, 0, "out")
    code.call(Helper.NOW).load(4, R1, R9, IDLE_AT).wide(R2, _SECOND)
    code.compute("*", R1, R2).compute("+", R0, R1).store(8, R9, UNTIL_AT, R0)
    name, header = names.throttled_counter(direction), bool(stand.link_header)
    counted = partial(count, counters=told.maps.counters, name=name)
    hand_over(code, stand.point, Bound(R7, R8), header=header, counted=counted)
    code.goto("out")


def _watch(
    code: Assembly,
    told: PlaneParts,
    stand: Stand,
    family: Family,
    number: int,
) -> None:
    """Copy a few of what has a verdict by its running traffic: one may not fit."""
    maps, enough, beyond = told.maps, code.fresh(), code.fresh()
    code.set(R8, number)
    handing.within_sample(code, family, maps.pairs, enough)
    _within_kind(code, told, stand.point, beyond)
    handing.hand_out(code, maps, stand)
    code.goto(enough).label(beyond)
    count(code, maps.counters, names.HELD_BACK_BY_SIGNATURE)
    code.label(enough)


def _within_kind(
    code: Assembly, told: PlaneParts, point: HookPoint, beyond: str
) -> None:
    many = len(told.signatures)
    handing.within_kind(code, told.maps.limits, point * many, many, beyond)


def copying(told: PlaneParts, stand: Stand) -> bytes:
    """For a packet that looks like a tunnel's handshake."""
    code, maps = _begin(), told.maps
    load_addresses(code, stand.link_header, "out")
    asked = told.ruleset.reverse_path and stand.point is HookPoint.INGRESS
    for family in Family:
        sampled = code.fresh()
        code.label(addresses_of(family))
        if asked:
            handing.lives_there(code, family, "forged")
        code.load(4, R8, R6, Context.SCRATCH)
        for number, one in enumerate(told.signatures):
            if one.sampled:
                code.jump("==", R8, number, sampled)
        _share(code, told, stand.point, family)
        code.goto("kind").label(sampled)
        _sample(code, told, stand.point, family)
        code.goto("kind")
    code.label("kind")
    _within_kind(code, told, stand.point, "beyond its kind")
    handing.hand_out(code, maps, stand)
    code.goto("out").label("forged")
    count(code, maps.counters, names.REVERSE_PATH_FAILED)
    code.goto("out")
    handing.held_back(code, maps, "beyond its address", "beyond its kind")
    return _end(code)


def _share(code: Assembly, told: PlaneParts, point: HookPoint, family: Family) -> None:
    for share in sharing.shares(point, told.ruleset) if told.signatures else ():
        those = told.maps.addresses[point, share.end]
        handing.within_share(code, family, those, share, "beyond its address")


def _sample(code: Assembly, told: PlaneParts, point: HookPoint, family: Family) -> None:
    """Of what looks the same in every packet: none of it where an end is spared."""
    if not any(one.sampled for one in told.signatures):
        return
    known = code.fresh()
    _leave_spared_alone(code, told, family, PROTECTED, lambda _code, _family: None)
    code.load(4, R8, R6, Context.SCRATCH)
    handing.is_new_pair(code, family, told.maps.pairs, known)
    _share(code, told, point, family)
    code.label(known)
    handing.within_sample(code, family, told.maps.pairs, "out")


def witness(told: PlaneParts) -> bytes:
    """For a packet at the near end of a pair, where it is sent to wait."""
    code = _begin()
    code.load(4, R0, R6, Context.TC_INDEX).compute("&", R0, TAG_BITS)
    for way in PairTag:
        code.jump("==", R0, way, "ours")
    code.goto("out").label("ours")
    code.call(Helper.NOW).map_value(R1, told.maps.times)
    code.load(8, R1, R1, SETTLING_AT).jump("<", R0, R1, "out")
    load_addresses(code, _ETHERNET, "out")
    for family in Family:
        code.label(addresses_of(family))
        _leave_spared_alone(code, told, family, WATCHED, _found(told))
        _note_waiting(code, told, family)
        code.goto("out")
    return _end(code)


def _found(told: PlaneParts) -> Callable[[Assembly, Family], None]:
    """Counted, the switch thrown, whatever user space does; and it is told."""

    def found(code: Assembly, family: Family) -> None:
        count(code, told.maps.counters, names.witness(family))
        code.map_value(R7, told.maps.times).store(8, R7, ARMED_AT, 0)
        code.call(Helper.NOW).load(8, R1, R7, TOLD_AT)
        code.jump("<", R0, R1, "out").wide(R2, _SECOND).compute("+", R0, R2)
        code.store(8, R7, TOLD_AT, R0)
        code.map(R1, told.maps.ring).set(R2, RECORD_HEADER + SHORT_COPY).set(R3, 0)
        code.call(Helper.RING_RESERVE).jump("==", R0, 0, "out")
        code.store(8, R0, 0, 0).store(2, R0, 4, A_WITNESS).store(8, R0, 8, 0)
        code.set(R1, R0).set(R2, 0).call(Helper.RING_SUBMIT)

    return found


def _note_waiting(code: Assembly, told: PlaneParts, family: Family) -> None:
    """One packet a second, for the daemon to look up.

    Who claims a second writes alone; a reader takes what is whole.
    """
    code.call(Helper.NOW).set(R8, R0).wide(R1, _SECOND).compute("/", R0, R1)
    code.set(R9, R0).set(R7, R0).compute("&", R7, WAITING_RECORDS - 1)
    size = waiting_at(family, 1) - waiting_at(family, 0)
    code.compute("*", R7, size).map_value(R1, told.maps.waiting, waiting_at(family, 0))
    code.compute("+", R7, R1).load(8, R0, R7, CLAIM_AT).jump("==", R0, R9, "out")
    code.set(R3, R0).exchange_if_same(R7, CLAIM_AT, R9).jump("!=", R0, R3, "out")
    code.store(8, R7, TIME_AT, R8)
    for word in range(0, 2 * family.width, 8):
        code.load(8, R0, STACK, ADDRESSES_ON_STACK + word)
        code.store(8, R7, ENDS_AT + word, R0)
    code.store(8, R7, WHOLE_AT, R9)


def _begin() -> Assembly:
    code = Assembly().set(R6, R1)
    return code.store(8, STACK, SCRATCH_AT, 0)


def _end(code: Assembly) -> bytes:
    """Whatever has not been sent off goes on its way."""
    return code.label("out").exit(ActionCode.NEXT).assembled()
