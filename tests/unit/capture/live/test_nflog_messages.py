# SPDX-License-Identifier: GPL-2.0-or-later
"""NFLOG's messages, on bytes recorded from a kernel (6.18, little-endian).

A datagram of 5 bytes left by a veth and came in at its other end; a rule at the
egress hook of the one and one at the ingress hook of the other logged it.
"""

import errno
import sys

import pytest

from vpngate.capture.live.nflog_messages import (
    Logged,
    acknowledgement,
    bind_request,
    logged_packets,
)

pytestmark = pytest.mark.skipif(
    sys.byteorder != "little", reason="netlink has the byte order of the machine"
)

NETWORK = bytes.fromhex(
    "45000021e18540004011d53bc0000201c00002090fa00009000d842968656c6c6f"
)
LINK = bytes.fromhex("020000000009da18550d36cc0800")

REQUEST = bytes.fromhex(
    "480000000104050001000000000000000000000705000100010000000a000200"
    "0000ffff02000000080003000000100008000400000000640800050000000002"
    "0600060000010000"
)
DONE = bytes.fromhex(
    "2400000002000001010000005b4900000000000048000000010405000100000000000000"
)
REFUSED = bytes.fromhex("5c0000000200000001000000f8e70e8affffffff") + REQUEST

# One datagram: two packets, and the end of the batch.
EGRESS = bytes.fromhex(
    "a000000000040000000000000000000005000007080001000800010005000a00"
    "00000000080005000000000314000300000000006b053dc20000000000027b6a"
    "08000b000000000008000e000000000008000c00000000001200150002000000"
    "0009da18550d36cc0800000033000900020000000009da18550d36cc08004500"
    "0021e18540004011d53bc0000201c00002090fa00009000d842968656c6c6f00"
)
INGRESS = bytes.fromhex(
    "c800000000040000000000000000000005000007080001000800000005000a00"
    "0000000008000400000000021000080000060000da18550d36cc000006000f00"
    "0001000006001100000e000012001000020000000009da18550d36cc08000000"
    "14000300000000006b053dc20000000000027b6f08000b000000000008000e00"
    "0000000008000c000000000112001500020000000009da18550d36cc08000000"
    "2500090045000021e18540004011d53bc0000201c00002090fa00009000d8429"
    "68656c6c6f000000"
)
END_OF_BATCH = bytes.fromhex("1400000003000000000000000000000000000007")


def packets(datagram: bytes) -> list[Logged]:
    return list(logged_packets(memoryview(datagram)))


def test_the_request_is_the_one_that_the_kernel_took() -> None:
    request = bind_request(7, threshold=2, timeout=100, batch_bytes=4096, sequence=1)
    assert request == REQUEST


def test_an_answer_is_the_errno_of_its_request() -> None:
    assert acknowledgement(memoryview(DONE), 1) == 0
    assert acknowledgement(memoryview(REFUSED), 1) == errno.EPERM


def test_an_answer_to_another_request_is_none() -> None:
    assert acknowledgement(memoryview(DONE), 2) is None
    assert acknowledgement(memoryview(EGRESS), 0) is None


def test_packets_may_stand_before_the_answer() -> None:
    assert acknowledgement(memoryview(EGRESS + DONE), 1) == 0


def test_egress_hands_over_the_link_header_too_and_ingress_does_not() -> None:
    assert packets(EGRESS + INGRESS + END_OF_BATCH) == [
        Logged(LINK + NETWORK, 0x0800, 1, 3, 1795505602.162666, 0),
        Logged(NETWORK, 0x0800, 0, 2, 1795505602.162671, 1),
    ]


def test_what_is_no_packet_is_passed_over() -> None:
    assert packets(DONE + INGRESS) == packets(INGRESS)


@pytest.mark.parametrize("kept", range(0, len(INGRESS), 7))
def test_a_message_cut_short_gives_nothing(kept: int) -> None:
    assert packets(EGRESS + INGRESS[:kept]) == packets(EGRESS)


def without(message: bytes, attribute: bytes) -> bytes:
    """The message without one attribute, given as its bytes."""
    assert message.count(attribute) == 1
    shorter = message.replace(attribute, b"")
    return len(shorter).to_bytes(4, "little") + shorter[4:]


def test_a_packet_may_come_without_time_count_and_device() -> None:
    bare = without(INGRESS, bytes.fromhex("0800040000000002"))
    bare = without(bare, bytes.fromhex("08000c0000000001"))
    bare = without(bare, bytes.fromhex("14000300000000006b053dc20000000000027b6f"))
    assert packets(bare) == [Logged(NETWORK, 0x0800, 0, 0, None, None)]


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("0800040000000002", "0300040000000002"),  # shorter than its own header
        ("0800040000000002", "ffff040000000002"),  # longer than the message
        ("08000c0000000001", "06000c0000000001"),  # a count of two bytes
    ],
)
def test_an_attribute_with_a_wrong_length_spoils_its_packet_alone(
    good: str, bad: str
) -> None:
    spoilt = INGRESS.replace(bytes.fromhex(good), bytes.fromhex(bad))
    assert spoilt != INGRESS
    assert packets(spoilt + EGRESS) == packets(EGRESS)
