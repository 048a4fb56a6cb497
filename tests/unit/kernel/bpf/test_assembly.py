# SPDX-License-Identifier: GPL-2.0-or-later
"""Instructions as RFC 9669 has them, jumps, and what cannot be reached."""

import pytest

from vpngate.kernel.bpf.assembly import (
    R0,
    R1,
    R2,
    R3,
    R6,
    STACK,
    Assembly,
    Context,
)
from vpngate.kernel.bpf.syscall import Helper

EXIT = "9500000000000000"

# The bytes are those of the specification's tables, written out by hand.
INSTRUCTIONS = [
    (lambda a: a.set(R0, -1), "b7000000ffffffff"),
    (lambda a: a.set(R6, R1), "bf16000000000000"),
    (lambda a: a.set(R2, 1 << 40), "18020000000000000000000000010000"),
    (lambda a: a.compute("+", R1, 14), "070100000e000000"),
    (lambda a: a.compute("-", R1, R2), "1f21000000000000"),
    (lambda a: a.compute("&", R0, 0xF0, 32), "54000000f0000000"),
    (lambda a: a.compute(">>", R3, 61), "770300003d000000"),
    (lambda a: a.load(4, R0, R6, Context.PROTOCOL), "6160100000000000"),
    (lambda a: a.load(1, R0, STACK, -48), "71a0d0ff00000000"),
    (lambda a: a.load(8, R0, STACK, -8), "79a0f8ff00000000"),
    (lambda a: a.store(2, STACK, -4, R1), "6b1afcff00000000"),
    (lambda a: a.store(8, STACK, -8, 7), "7a0af8ff07000000"),
    (lambda a: a.add_at(R1, 8, R2), "db21080000000000"),
    (lambda a: a.exchange_if_same(R1, 0, R2), "db210000f1000000"),
    (lambda a: a.to_network(R1, 16), "dc01000010000000"),
    (lambda a: a.call(Helper.MAP_LOOKUP), "8500000001000000"),
]


@pytest.mark.parametrize(("write", "expected"), INSTRUCTIONS)
def test_instructions(write: object, expected: str) -> None:
    code = Assembly()
    write(code)  # type: ignore[operator]
    assert code.exit().assembled().hex() == expected + EXIT


@pytest.mark.parametrize(
    ("when", "bits", "code"),
    [("==", 64, "15"), ("!=", 32, "56"), ("<", 64, "a5"), ("&", 64, "45")],
)
def test_jumps_are_counted_from_the_next_instruction(
    when: str, bits: int, code: str
) -> None:
    program = Assembly().set(R0, 0).jump(when, R1, 9, "on", bits).set(R0, 1)
    program.label("on").exit()
    whole = program.assembled().hex()
    assert whole[16:32] == f"{code}01010009000000"


def test_backwards() -> None:
    program = Assembly().set(R0, 0).label("again").compute("+", R0, 1)
    program.jump("<", R0, 9, "again").exit()
    assert program.assembled().hex()[32:48] == "a500feff09000000"


def test_what_cannot_be_reached_is_dropped_and_jumps_still_lead_there() -> None:
    program = Assembly().set(R0, 0).goto("end").set(R0, 1).set(R0, 2)
    program.label("end").exit().set(R0, 3)
    plain = Assembly().set(R0, 0).goto("end").label("end").exit()
    assert program.assembled() == plain.assembled()


def test_a_wide_constant_counts_for_two() -> None:
    program = Assembly().jump("==", R1, 0, "end").set(R0, 1 << 40).label("end").exit(0)
    assert program.assembled().hex()[:16] == "1501020000000000"


def test_labels() -> None:
    with pytest.raises(ValueError, match="no label nowhere"):
        Assembly().goto("nowhere").assembled()
    with pytest.raises(ValueError, match="two of the label here"):
        Assembly().label("here").label("here")
    code = Assembly()
    assert len({code.fresh() for _ in range(9)}) == 9


def test_a_program_has_an_end() -> None:
    with pytest.raises(ValueError, match="past its end"):
        Assembly().set(R0, 0).assembled()


def test_a_jump_too_far_is_not_wrapped_around() -> None:
    program = Assembly().jump("==", R1, 0, "end")
    for _ in range(1 << 15):
        program.set(R0, 0)
    program.label("end").exit(0)
    with pytest.raises(ValueError, match="end is too far"):
        program.assembled()
