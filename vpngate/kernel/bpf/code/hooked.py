# SPDX-License-Identifier: GPL-2.0-or-later
"""The program that stands at an interface's hook: what every packet goes through.

Knows the order: has it been slowed already, counted, what is it, has its flow a
verdict, does it look like a handshake; does not know what becomes of those few that
have or do (`stages.py`). An ordinary packet is done with in here.
"""

from vpngate.kernel.bpf.assembly import (
    R1,
    R2,
    R3,
    R6,
    R7,
    R8,
    ActionCode,
    Assembly,
    Context,
)
from vpngate.kernel.bpf.code.counting import count_with_bytes
from vpngate.kernel.bpf.code.finding import find, found
from vpngate.kernel.bpf.code.flow_verdicts import (
    KnownFlows,
    find_verdict,
    keep_for_a_stage,
)
from vpngate.kernel.bpf.code.recognising import Exits, recognise
from vpngate.kernel.bpf.code.stages import PlaneParts
from vpngate.kernel.bpf.code.way_back import is_back
from vpngate.kernel.bpf.plane_maps import Stage, Stand, stage_at
from vpngate.kernel.bpf.syscall import Helper
from vpngate.packets import Family, HookPoint
from vpngate.ruleset import names


def at_hook(told: PlaneParts, stand: Stand) -> bytes:
    """The program for such a hook of interfaces."""
    code, maps = Assembly().set(R6, R1), told.maps
    point, link_header = stand
    is_back(code, point, "new")
    code.label("new").load(4, R7, R6, Context.LENGTH)
    if point is HookPoint.INGRESS:  # there nobody counts the link header
        code.compute("-", R7, link_header)
    direction = told.direction(point)
    count_with_bytes(code, maps.counters, names.traffic_counter(direction), R7)
    find(code, link_header, "out")
    for family in Family:
        code.label(found(family))
        if told.ruleset.enforce:
            bits, verdicts = maps.filters[direction], maps.verdicts[direction, family]
            flows = KnownFlows(bits, verdicts, told.ruleset.carriers)
            find_verdict(code, family, link_header, flows, ("verdict", "search"))
        else:
            code.goto("search")
    code.label("search")
    recognise(code, told.signatures, Exits("candidate", "out"))
    code.label("candidate").store(4, R6, Context.SCRATCH, R8)
    _go_on_at(code, told, stage_at(Stage.COPY, stand))
    if told.ruleset.enforce:
        code.label("verdict")
        keep_for_a_stage(code)
        _go_on_at(code, told, stage_at(Stage.THROTTLE, stand))
    return code.label("out").exit(ActionCode.NEXT).assembled()


def at_lasting_hook(told: PlaneParts, stand: Stand) -> bytes:
    """The one for hooks where it stays when the daemon is killed.

    It goes on at the other. Without a daemon there is none, and a packet meets next to
    nothing: but what has waited is still told apart, and is as it was.
    """
    code = Assembly().set(R6, R1)
    is_back(code, stand.point, "new")
    _go_on_at(code.label("new"), told, stage_at(Stage.HOOK, stand))
    return code.label("out").exit(ActionCode.NEXT).assembled()


def _go_on_at(code: Assembly, told: PlaneParts, number: int) -> None:
    """Where no daemon is, there is no stage: it is on its way."""
    code.set(R1, R6).map(R2, told.maps.stages).set(R3, number)
    code.call(Helper.TAIL_CALL).goto("out")


def at_near_end(told: PlaneParts) -> bytes:
    """The program that stands where packets go to wait: it goes on at the witness."""
    code = Assembly().set(R6, R1)
    _go_on_at(code, told, Stage.WITNESS)
    return code.label("out").exit(ActionCode.NEXT).assembled()
