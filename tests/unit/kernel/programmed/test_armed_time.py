# SPDX-License-Identifier: GPL-2.0-or-later
"""The time until which programs slow, ended by any thread at any moment."""

from vpngate.kernel.programmed.memory.armed_time import ArmedTime

UNTIL = 1_000


def nothing() -> None: ...


def test_it_is_off_from_the_call_on_until_the_work_is_done() -> None:
    shown: list[int] = []
    armed = ArmedTime(shown.append, lambda: shown[-1])
    armed.arm(UNTIL)
    work = armed.held_off(armed.disarm)
    assert shown[-1] == 0
    armed.arm(2 * UNTIL)  # asked for before, in the thread's own order
    assert shown[-1] == 0
    work()
    assert shown[-1] == 0
    armed.arm(3 * UNTIL)
    assert shown[-1] == 3 * UNTIL


def test_what_leaves_it_armed_has_it_on_again() -> None:
    shown: list[int] = []
    armed = ArmedTime(shown.append, lambda: shown[-1])
    armed.arm(UNTIL)
    first, second = armed.held_off(nothing), armed.held_off(nothing)
    first()
    assert shown[-1] == 0  # for the other's sake
    second()
    assert shown[-1] == UNTIL


def test_who_turns_it_off_while_it_is_being_armed_is_not_overwritten() -> None:
    """Both write the same number: the later one of them need not be the right one."""
    memory = [0]

    def show(until: int) -> None:
        if until and not held:
            held.append(armed.held_off(nothing))  # by another thread, just before
        memory.append(until)

    held: list[object] = []
    armed = ArmedTime(show, lambda: memory[-1])
    armed.arm(UNTIL)
    assert held
    assert memory[-1] == 0


def test_work_that_fails_holds_off_nothing_for_ever() -> None:
    shown: list[int] = []
    armed = ArmedTime(shown.append, lambda: shown[-1])
    armed.arm(UNTIL)

    def failing() -> None:
        raise ValueError

    try:
        armed.held_off(failing)()
    except ValueError:
        assert shown[-1] == UNTIL
    else:
        raise AssertionError


def test_what_a_program_has_ended_meanwhile_stays_ended() -> None:
    """The witness has found somebody: work that has to do with others is no excuse."""
    memory = [0]
    armed = ArmedTime(memory.append, lambda: memory[-1])
    armed.arm(UNTIL)
    memory.append(0)  # by a program
    armed.held_off(nothing)()
    assert memory[-1] == 0
    armed.arm(2 * UNTIL)
    assert memory[-1] == 2 * UNTIL
