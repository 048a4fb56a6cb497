# SPDX-License-Identifier: GPL-2.0-or-later
"""The parts of programs around a pair: what older kernels take, and the tags."""

import struct

import pytest

from vpngate.kernel.bpf.assembly import R1, R6, R7, R8, ActionCode, Assembly
from vpngate.kernel.bpf.code.way_back import (
    TAG_BITS,
    Bound,
    PairTag,
    hand_over,
    is_back,
    returner,
)
from vpngate.packets import HookPoint

STORE_NUMBER, STACK = 2, 10


def sending(hook: HookPoint, *, header: bool) -> bytes:
    code = Assembly().set(R6, R1).set(R7, 0).set(R8, 0)
    is_back(code, hook, "new")
    hand_over(code.label("new"), hook, Bound(R7, R8), header=header)
    return code.exit(ActionCode.NEXT).assembled()


PROGRAMS = {
    "far end": returner(),
    **{
        f"{hook.name.lower()}, header {header}": sending(hook, header=header)
        for hook in HookPoint
        for header in (True, False)
    },
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_no_number_is_stored_in_what_tells_of_a_packet(name: str) -> None:
    """Kernels before 6.4 refuse a program that does: a register is stored there."""
    stores = [
        registers & 15
        for code, registers, _, _ in struct.iter_unpack("=BBhI", PROGRAMS[name])
        if code & 7 == STORE_NUMBER
    ]
    assert set(stores) <= {STACK}


def test_what_is_carried_beside_a_tag_leaves_it() -> None:
    for tag in PairTag:
        assert {(tag | beside) & TAG_BITS for beside in range(64)} == {tag}
