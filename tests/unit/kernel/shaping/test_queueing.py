# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel is told of a class and its queue (linux/pkt_sched.h)."""

import struct

import pytest

from vpngate.kernel.shaping.queueing import class_options, largest_packet, queue_bytes
from vpngate.kernel.wire.attributes import attributes

KIND, OPTIONS = 1, 2
RATES = (512_000, 5_000_000, 100_000_000, 1_000_000_000, 10_000_000_000)
PACKET = largest_packet(1500)


def read(data: bytes) -> tuple[bytes, dict[int, memoryview]]:
    parts = attributes(data)
    return bytes(parts[KIND]), attributes(parts[OPTIONS])


def number(data: memoryview) -> int:
    return int(struct.unpack("=I", data)[0])


@pytest.mark.parametrize("rate", RATES)
def test_a_class_has_its_rate_and_a_quantum_that_the_kernel_likes(rate: int) -> None:
    kind, options = read(class_options(rate, PACKET).of_class)
    assert kind == b"htb\0"
    parameters = struct.unpack("=BBHhHI BBHhHI IIIII", options[1])
    assert parameters[5] == parameters[11] == rate // 8  # rate, ceil: nobody borrows
    assert 1000 <= parameters[14] <= 200_000
    assert bytes(options[1]) == class_options(rate, PACKET).parameters


def test_a_rate_of_more_than_32_bits_has_an_attribute_of_its_own() -> None:
    _, options = read(class_options(100_000_000_000, PACKET).of_class)
    assert struct.unpack_from("=I", options[1], 8) == (0xFFFFFFFF,)
    for rate64 in (6, 7):
        assert struct.unpack("=Q", options[rate64]) == (12_500_000_000,)


@pytest.mark.parametrize("rate", RATES)
def test_a_leaf_splits_what_is_larger_than_a_packet_and_holds_200_ms(rate: int) -> None:
    kind, options = read(class_options(rate, PACKET).leaf)
    assert kind == b"tbf\0"
    assert len(options[1]) == 36
    limit = struct.unpack_from("=I", options[1], 24)[0]
    assert limit == pytest.approx(rate / 8 * 0.2, abs=1)
    assert struct.unpack("=Q", options[4]) == (50_000_000_000,)
    assert number(options[6]) == 1522


def test_a_queue_has_room_for_two_packets_however_large() -> None:
    assert queue_bytes(512_000, largest_packet(9000)) == 2 * 9022
    assert largest_packet(68) == 1522  # what the ifb itself may send


@pytest.mark.parametrize("rate", RATES)
def test_an_fq_codel_is_small_and_patient_enough_for_its_rate(rate: int) -> None:
    made = class_options(rate, PACKET)
    kind, options = read(made.flow_queue)
    assert kind == b"fq_codel\0"
    target, limit, interval, flows, quantum, drops, memory = (
        number(options[n]) for n in (1, 2, 3, 5, 6, 8, 9)
    )
    assert target >= max(5000, PACKET * 8e6 / rate)  # microseconds
    assert interval > target
    assert flows * 64 < 256 * 2**20 / 40_000
    assert quantum == PACKET
    assert drops == 1
    assert memory >= 3 * PACKET
    assert memory == pytest.approx(1.5 * rate / 8 * 0.2, abs=2)
    assert limit * PACKET > queue_bytes(rate, PACKET)
    _, change = read(made.flow_queue_change)
    assert change.keys() == options.keys() - {5}
