# SPDX-License-Identifier: GPL-2.0-or-later
"""The system call bpf(2): maps, programs and links on the running kernel."""

import contextlib
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.lab.namespaces import Namespace, wait_until
from vpngate.errors import KernelRefused
from vpngate.kernel.bpf import programs
from vpngate.kernel.bpf.assembly import R0, R1, R2, R3, R6, STACK, ActionCode, Assembly
from vpngate.kernel.bpf.maps import Map, MapLayout, index, mapped_array
from vpngate.kernel.bpf.programs import Unverified
from vpngate.kernel.bpf.syscall import (
    AttachPoint,
    BpfRefused,
    Helper,
    MapFlag,
    MapKind,
    UpdateFlag,
)

FRAME = bytes(12) + b"\x08\0\x45" + bytes(60)


@contextlib.contextmanager
def a_map(
    kind: MapKind, key: int, value: int, entries: int, **more: int
) -> Iterator[Map]:
    made = Map("test", MapLayout(kind, key, value, entries, **more))
    try:
        yield made
    finally:
        made.close()


@contextlib.contextmanager
def loaded(code: Assembly) -> Iterator[int]:
    program = programs.load(code.assembled(), "test")
    try:
        yield program
    finally:
        programs.close(program)


def number(value: int) -> bytes:
    return struct.pack("=Q", value)


def test_an_element_comes_and_goes() -> None:
    with a_map(MapKind.HASH, 4, 8, 2) as made:
        assert made.get(index(5)) is None
        made.put(index(5), number(7))
        assert made.get(index(5)) == number(7)
        with pytest.raises(BpfRefused, match="File exists"):
            made.put(index(5), number(8), UpdateFlag.ABSENT)
        made.put(index(6), number(9))
        with pytest.raises(KernelRefused, match="cannot write into the map test"):
            made.put(index(7), number(9))
        assert made.remove(index(5))
        assert not made.remove(index(5))
        assert made.get(index(5)) is None


def test_many_at_once() -> None:
    keys = np.arange(10_000, dtype="<u4")
    values = keys.astype("<u8") * 3
    with a_map(MapKind.HASH, 4, 8, 10_000) as made:
        assert made.put_all(keys, values, len(keys)) == len(keys)
        read: dict[int, int] = {}
        for some, those, count in made.items(at_once=300):
            pairs = zip(
                np.frombuffer(some, "<u4"), np.frombuffer(those, "<u8"), strict=True
            )
            read.update({int(k): int(v) for k, v in pairs})
            assert len(some) == 4 * count
        assert read == {int(k): int(k) * 3 for k in keys}
        made.remove(index(10))
        made.remove(index(11))
        made.remove_all(keys[5:20].copy(), 15)  # two of them are gone already
        left = {
            int(k) for some, _, _ in made.items() for k in np.frombuffer(some, "<u4")
        }
        assert left == set(range(10_000)) - set(range(5, 20))


def test_a_full_map_takes_what_it_can() -> None:
    keys = np.arange(9, dtype="<u4")
    with a_map(MapKind.HASH, 4, 4, 4) as made:
        assert made.put_all(keys, keys, 9) == 4


def test_an_array_in_memory_is_the_kernels() -> None:
    made = mapped_array("test", 8, 3)
    try:
        with made.mapped() as memory:
            memory[8:16] = number(77)
            assert made.get(index(1)) == number(77)
            made.put(index(2), number(5))
            assert memory[16:24] == number(5)
    finally:
        made.close()


def test_a_program_is_tried() -> None:
    with loaded(Assembly().load(4, R0, R1, 0).exit()) as program:
        trial = programs.try_out(program, FRAME, repeat=1000)
    assert trial.returned == len(FRAME)
    assert 0 < trial.nanoseconds < 100_000
    with loaded(Assembly().exit(ActionCode.NEXT)) as program:
        assert programs.try_out(program, FRAME).returned == ActionCode.NEXT


def test_a_program_counts_in_a_map() -> None:
    made = mapped_array("test", 8)
    code = Assembly().map_value(R1, made).set(R2, 1).add_at(R1, 0, R2).exit(0)
    with loaded(code) as program:
        programs.try_out(program, FRAME, repeat=5)
    assert made.get(index(0)) == number(5)
    made.close()


def test_what_the_verifier_says_is_one_line() -> None:
    with pytest.raises(Unverified, match="R3 !read_ok") as told:
        programs.load(Assembly().set(R0, R3).exit().assembled(), "test")
    assert len(told.value.lines) == 1
    assert "0: (bf) r0 = r3" in told.value.log


def test_the_stack_has_an_end() -> None:
    code = Assembly().store(8, STACK, -520, 0).exit(0)
    with pytest.raises(Unverified):
        programs.load(code.assembled(), "test")


def test_descriptors_are_closed_on_exec() -> None:
    with a_map(MapKind.ARRAY, 4, 4, 1) as made, loaded(Assembly().exit(0)) as program:
        for descriptor in (made.descriptor, program):
            assert not os.get_inheritable(descriptor)


def test_a_tail_call_ends_with_the_array() -> None:
    """The promise of "gone with the daemon", in its smallest form."""
    stage = Map("stage", MapLayout(MapKind.PROGRAM_ARRAY, 4, 4, 1))
    second = programs.load(Assembly().exit(5).assembled(), "second")
    stage.put(index(0), struct.pack("=I", second))
    code = Assembly().set(R6, R1).map(R2, stage).set(R3, 0).call(Helper.TAIL_CALL)
    with loaded(code.exit(1)) as first:
        assert programs.try_out(first, FRAME).returned == 5
        stage.close()
        programs.close(second)
        # The kernel empties the array a moment later, in a thread of its own.
        gone = lambda: programs.try_out(first, FRAME).returned == 1  # noqa: E731
        wait_until(gone, "the end of the array", timeout=5)


def test_a_link_goes_with_its_descriptor(tmp_path: Path) -> None:
    namespace = Namespace("bpf", tmp_path)

    def attach() -> tuple[list[int], list[int], list[int]]:
        interface = socket.if_nametoindex("va")
        point = AttachPoint.TCX_EGRESS
        with loaded(Assembly().exit(ActionCode.NEXT)) as program:
            link = programs.link(program, interface, point)
            during = programs.attached(interface, point)
            known = [programs.id_of(program)]
            programs.close(link)
            return during, known, programs.attached(interface, point)

    try:
        namespace.ip("link add va type veth peer name vb")
        during, known, after = namespace.call(attach)
    except BpfRefused as old:
        pytest.skip(f"Linux before 6.6: {old}")
    finally:
        namespace.close()
    assert (during, after) == (known, [])


def test_without_the_capabilities_it_says_what_is_missing() -> None:
    code = (
        "from vpngate.errors import MissingPrivilege\n"
        "from vpngate.kernel.bpf.maps import mapped_array\n"
        "from vpngate.kernel.bpf import programs\n"
        "from vpngate.kernel.bpf.assembly import Assembly\n"
        "for make in (lambda: mapped_array('test', 8),\n"
        "             lambda: programs.load(Assembly().exit(0).assembled(), 'x')):\n"
        "    try: make()\n"
        "    except MissingPrivilege as told: print(told)\n"
    )
    bare = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]
    done = subprocess.run(
        [*bare, sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    assert all("CAP_NET_ADMIN, CAP_BPF and CAP_PERFMON" in line for line in lines)


def test_a_map_that_may_not_be_mapped_is_an_error_of_one_line() -> None:
    with (
        a_map(MapKind.ARRAY, 4, 8, 1) as plain,
        pytest.raises(BpfRefused, match="map the map test into memory"),
    ):
        plain.mapped()
    assert MapFlag.MAPPED  # what it takes
