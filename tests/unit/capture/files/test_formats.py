# SPDX-License-Identifier: GPL-2.0-or-later
"""The pcap and pcapng readers: every variant of the formats, and where they break."""

import io
import struct
from collections.abc import Callable

import pytest

from tests.unit.capture import crafted
from tests.unit.capture.crafted import (
    ETHERNET,
    HANDSHAKE,
    NULL,
    START,
    block,
    enhanced,
    interface,
    option,
    section,
)
from vpngate.capture.files import pcap, pcapng
from vpngate.capture.files.record import CHUNK, Damage, Record

EVERY_FRAME = lambda _link_type: lambda _frame: True  # noqa: E731


def read(
    data: bytes, wanted: Callable[[int], Callable[[bytes], bool]] = EVERY_FRAME
) -> list[Record]:
    """What a stream holds; it comes in pieces as small as can be."""
    stream = io.BytesIO(data)
    form = pcap if pcap.is_pcap(data) else pcapng
    assert form is pcap or pcapng.is_pcapng(data)
    head = stream.read(12)
    return list(form.records(head, lambda _: stream.read(7), wanted))


def read_until_damage(data: bytes) -> tuple[list[Record], str]:
    found: list[Record] = []
    stream = io.BytesIO(data)
    form = pcap if pcap.is_pcap(data) else pcapng
    records = form.records(stream.read(CHUNK), stream.read, EVERY_FRAME)
    with pytest.raises(Damage) as damage:
        found.extend(records)
    return found, str(damage.value)


@pytest.mark.parametrize("order", "<>")
class TestPcap:
    @pytest.mark.parametrize("variant", [{}, {"nano": True}, {"patched": True}])
    def test_every_variant(self, order: str, variant: dict[str, bool]) -> None:
        records = read(crafted.pcap(HANDSHAKE, order=order, **variant))
        assert [r.frame for r in records] == HANDSHAKE
        assert [r.timestamp for r in records] == [START, START + 1, START + 2]
        assert {r.link_type for r in records} == {ETHERNET}

    def test_a_checksum_length_is_not_part_of_the_link_type(self, order: str) -> None:
        fcs = 0x4400_0000
        (record,) = read(crafted.pcap(HANDSHAKE[:1], NULL | fcs, order))
        assert record.link_type == NULL

    def test_no_packets(self, order: str) -> None:
        assert read(crafted.pcap([], order=order)) == []

    def test_only_wanted_frames(self, order: str) -> None:
        asked = []

        def wanted(link_type: int) -> Callable[[bytes], bool]:
            asked.append(link_type)
            return lambda frame: frame == HANDSHAKE[1]

        records = read(crafted.pcap(HANDSHAKE, order=order), wanted)
        assert [r.frame for r in records] == HANDSHAKE[1:2]
        assert asked == [ETHERNET]

    def test_cut_short_anywhere(self, order: str) -> None:
        whole = crafted.pcap(HANDSHAKE, order=order)
        sizes = [24]
        for frame in HANDSHAKE:
            sizes.append(sizes[-1] + 16 + len(frame))
        assert sizes[-1] == len(whole)
        for length in range(4, len(whole)):
            if length in sizes:
                continue
            found, what = read_until_damage(whole[:length])
            complete = sum(size <= length for size in sizes[1:])
            assert [r.frame for r in found] == HANDSHAKE[:complete]
            assert "cut short" in what

    def test_a_record_of_impossible_size(self, order: str) -> None:
        head = struct.pack(f"{order}IIII", 1, 2, 0x7FFFFFFF, 5)
        found, what = read_until_damage(crafted.pcap(HANDSHAKE, order=order) + head)
        assert len(found) == len(HANDSHAKE)
        assert what == "a record claims 2147483647 bytes"


@pytest.mark.parametrize("order", "<>")
class TestPcapng:
    def test_enhanced_packets(self, order: str) -> None:
        records = read(crafted.pcapng(HANDSHAKE, order))
        assert [r.frame for r in records] == HANDSHAKE
        assert {r.timestamp for r in records} == {START}
        assert {r.link_type for r in records} == {ETHERNET}

    def test_old_and_simple_packets(self, order: str) -> None:
        first, second, third = HANDSHAKE
        snap_length = 40
        data = (
            section(order)
            + interface(order=order, snap_length=snap_length)
            + crafted.old(first, order=order)
            + crafted.simple(second[:snap_length], len(second), order)
            + crafted.simple(third[:20], order=order)
        )
        records = read(data)
        assert [r.frame for r in records] == [first, second[:snap_length], third[:20]]
        assert [r.timestamp for r in records] == [START, 0.0, 0.0]

    def test_a_simple_packet_without_snap_length_is_whole(self, order: str) -> None:
        data = section(order) + interface(order=order)
        (record,) = read(data + crafted.simple(HANDSHAKE[0], order=order))
        assert record.frame == HANDSHAKE[0]

    def test_other_blocks_are_passed_over(self, order: str) -> None:
        statistics = block(order, 5, bytes(20))
        unknown = block(order, 0x0BAD, b"whatever")
        data = section(order) + statistics + interface(order=order) + unknown
        (record,) = read(data + enhanced(HANDSHAKE[0], order=order) + statistics)
        assert record.frame == HANDSHAKE[0]

    def test_interfaces_of_different_link_types(self, order: str) -> None:
        data = section(order) + interface(ETHERNET, order) + interface(NULL, order)
        data += enhanced(b"null", 1, order=order) + enhanced(b"ether", 0, order=order)
        found = [(r.link_type, r.frame) for r in read(data)]
        assert found == [(NULL, b"null"), (ETHERNET, b"ether")]

    def test_a_section_has_interfaces_of_its_own(self, order: str) -> None:
        other = "<" if order == ">" else ">"
        data = crafted.pcapng(HANDSHAKE[:1], order)
        data += section(other) + interface(NULL, other) + enhanced(b"x", 0, order=other)
        found = [(r.link_type, r.frame) for r in read(data)]
        assert found == [(ETHERNET, HANDSHAKE[0]), (NULL, b"x")]
        _, what = read_until_damage(data + section(order) + enhanced(b"x", order=order))
        assert what == "a packet of interface 0, which is not described"

    @pytest.mark.parametrize(
        ("resolution", "ticks_a_second"), [(3, 10**3), (9, 10**9), (0x8A, 2**10)]
    )
    def test_time_units(self, order: str, resolution: int, ticks_a_second: int) -> None:
        options = option(2, b"eth0", order) + option(9, bytes([resolution]), order)
        ticks = int(START * ticks_a_second)
        data = section(order) + interface(order=order, options=options)
        (record,) = read(data + enhanced(b"x", ticks=ticks, order=order))
        assert record.timestamp == ticks / ticks_a_second

    def test_a_time_offset(self, order: str) -> None:
        offset = option(14, struct.pack(f"{order}q", -3600), order)
        odd = option(14, b"odd", order) + option(9, b"xx", order)
        data = section(order) + interface(order=order, options=offset + odd)
        (record,) = read(data + enhanced(b"x", order=order))
        assert record.timestamp == START - 3600

    def test_cut_short_anywhere(self, order: str) -> None:
        whole = crafted.pcapng(HANDSHAKE, order)
        for cut in range(1, 12 + 20 + 4):
            found, what = read_until_damage(whole[:-cut])
            assert [r.frame for r in found] == HANDSHAKE[:-1]
            assert what == "the last block is cut short"

    @pytest.mark.parametrize("size", [0, 11, 0x7FFFFFFC])
    def test_a_block_of_impossible_size(self, order: str, size: int) -> None:
        head = struct.pack(f"{order}III", 6, size, 0)
        found, what = read_until_damage(crafted.pcapng(HANDSHAKE, order) + head)
        assert len(found) == len(HANDSHAKE)
        assert what == f"a block claims {size} bytes"

    def test_damaged_blocks(self, order: str) -> None:
        start = section(order) + interface(order=order)
        size_lies = struct.pack(f"{order}IIIII", 0, 0, 0, 99, 99)
        cases = {
            "a packet block is too short": block(order, 6, bytes(16)),
            "a packet is longer than its block": block(order, 6, size_lies),
            "a packet of interface 7, which is not described": enhanced(
                b"x", 7, order=order
            ),
            "an interface description is too short": block(order, 1, bytes(4)),
            "a section header without a byte order": block(order, 0x0A0D0D0A, bytes(4)),
            "a simple packet block without its length or interface": block(
                order, 3, b""
            ),
        }
        for expected, damaged in cases.items():
            found, what = read_until_damage(
                start + enhanced(b"x", order=order) + damaged
            )
            assert len(found) == 1
            assert what == expected

    def test_a_simple_packet_needs_an_interface(self, order: str) -> None:
        _, what = read_until_damage(section(order) + crafted.simple(b"x", order=order))
        assert what == "a simple packet block without its length or interface"


def test_cut_off_file_headers_are_damage() -> None:
    for whole in (crafted.pcap([]), crafted.pcapng([])[:28]):
        for length in range(4, len(whole) - 4):
            found, what = read_until_damage(whole[:length])
            assert found == []
            assert "cut short" in what


def test_neither_format_is_taken_for_the_other() -> None:
    for data in (b"", b"\n\r\r", b"#!/bin/sh\n", crafted.pcapng([])):
        assert not pcap.is_pcap(data)
    for data in (b"", b"\n\r\r", b"#!/bin/sh\n", crafted.pcap([])):
        assert not pcapng.is_pcapng(data)
