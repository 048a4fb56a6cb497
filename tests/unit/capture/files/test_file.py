# SPDX-License-Identifier: GPL-2.0-or-later
"""Capture files as they are found: both formats, gzip, pipes, folders, and broken."""

import contextlib
import gzip
import os
import socket
import struct
import threading
from pathlib import Path

import pytest

from tests.unit.capture import crafted
from tests.unit.capture.crafted import (
    DATA,
    ETHERNET,
    HANDSHAKE,
    INITIATION,
    NULL,
    RADIOTAP,
    RESPONSE,
    START,
    enhanced,
    ethernet,
    interface,
    section,
    udp,
)
from vpngate.capture.candidates import CandidateFilter
from vpngate.capture.files.file import CaptureFile, Recorded
from vpngate.capture.files.search import captures
from vpngate.errors import DamagedCapture, UnreadableInput
from vpngate.tunnels import all_tunnels

PAYLOADS = [INITIATION, RESPONSE]  # the candidates of a handshake


@pytest.fixture(scope="module")
def candidates() -> CandidateFilter:
    return CandidateFilter.of(s for t in all_tunnels() for s in t.signatures)


def payloads(found: list[Recorded]) -> list[bytes]:
    return [one.packet.payload for one in found]


FORMS = {
    "pcap": crafted.pcap(HANDSHAKE),
    "pcapng": crafted.pcapng(HANDSHAKE, ">"),
    "pcap in gzip": gzip.compress(crafted.pcap(HANDSHAKE, order=">")),
    "pcapng in gzip": gzip.compress(crafted.pcapng(HANDSHAKE)),
    "gzip of several members": b"".join(
        map(gzip.compress, (crafted.pcap(HANDSHAKE)[:99], crafted.pcap(HANDSHAKE)[99:]))
    ),
}


@pytest.mark.parametrize("content", FORMS.values(), ids=FORMS)
class TestEveryForm:
    def test_candidates_come_out(
        self, tmp_path: Path, candidates: CandidateFilter, content: bytes
    ) -> None:
        path = tmp_path / "capture"
        path.write_bytes(content)
        found = list(CaptureFile(path, candidates))
        assert payloads(found) == PAYLOADS
        assert found[0].timestamp == START

    def test_also_out_of_a_pipe(
        self, tmp_path: Path, candidates: CandidateFilter, content: bytes
    ) -> None:
        path = tmp_path / "pipe"
        os.mkfifo(path)
        writer = threading.Thread(target=path.write_bytes, args=(content,))
        writer.start()
        capture = CaptureFile(path, candidates)
        assert payloads(list(capture)) == PAYLOADS
        assert capture.fraction is None
        writer.join()

    def test_damage_comes_after_what_stands_before_it(
        self, tmp_path: Path, candidates: CandidateFilter, content: bytes
    ) -> None:
        path = tmp_path / "capture"
        path.write_bytes(content[:-5])
        found: list[Recorded] = []
        with pytest.raises(DamagedCapture, match=r"damaged capture .*; what came"):
            found.extend(CaptureFile(path, candidates))
        assert payloads(found) == PAYLOADS[: len(found)]
        if not content.startswith(b"\x1f\x8b"):
            assert payloads(found) == PAYLOADS


def test_the_share_that_has_been_read(
    tmp_path: Path, candidates: CandidateFilter
) -> None:
    for content in (
        crafted.pcap(HANDSHAKE * 5000),
        crafted.pcapng(HANDSHAKE * 5000),
        gzip.compress(crafted.pcap(HANDSHAKE * 5000)),
    ):
        path = tmp_path / "capture"
        path.write_bytes(content)
        capture = CaptureFile(path, candidates)
        before = capture.fraction
        assert before is None
        shares = [capture.fraction for _ in capture]
        assert all(share is not None and 0 <= share <= 1 for share in shares)
        assert shares == sorted(shares)  # type: ignore[type-var]


@pytest.mark.parametrize("content", [b"no capture", crafted.pcapng(HANDSHAKE)])
def test_the_share_may_still_be_asked_for_at_the_end(
    tmp_path: Path, candidates: CandidateFilter, content: bytes
) -> None:
    """By another thread, that does not know that the file is closed."""
    path = tmp_path / "capture"
    path.write_bytes(content)
    capture = CaptureFile(path, candidates)
    with contextlib.suppress(UnreadableInput):
        list(capture)
    assert capture.fraction is None


def test_link_types_may_be_mixed(tmp_path: Path, candidates: CandidateFilter) -> None:
    path = tmp_path / "mixed.pcapng"
    path.write_bytes(
        section()
        + interface(ETHERNET)
        + interface(NULL)
        + enhanced(ethernet(udp(INITIATION)))
        + enhanced(b"\x02\0\0\0" + udp(RESPONSE, back=True), 1)
    )
    assert payloads(list(CaptureFile(path, candidates))) == PAYLOADS


def test_tags_are_looked_behind(tmp_path: Path, candidates: CandidateFilter) -> None:
    path = tmp_path / "tags.pcap"
    tags = b"\x88\xa8\0\x05\x81\0\0\x06"
    path.write_bytes(crafted.pcap([ethernet(udp(INITIATION), tags)]))
    assert payloads(list(CaptureFile(path, candidates))) == [INITIATION]


@pytest.mark.parametrize(
    "content",
    [
        crafted.pcap([b"a frame"], RADIOTAP),
        section() + interface(RADIOTAP) + enhanced(b"a frame"),
    ],
)
def test_link_types_that_are_not_understood_are_said(
    tmp_path: Path, candidates: CandidateFilter, content: bytes
) -> None:
    path = tmp_path / "radio"
    path.write_bytes(content)
    with pytest.raises(UnreadableInput, match="frames of link type 127 were left out"):
        list(CaptureFile(path, candidates))


PLAIN = crafted.pcap(HANDSHAKE)
NFLOG_FRAME = crafted.nflog(udp(INITIATION), ">")
RARE = {
    "a snap length shorter than frames": PLAIN[:16] + b"\x64\0" + PLAIN[18:],
    "no snap length": PLAIN[:16] + bytes(4) + PLAIN[20:],
    "version 2.2": PLAIN[:6] + b"\x02" + PLAIN[7:],
    "version 2.3": PLAIN[:6] + b"\x03" + PLAIN[7:],
    "patched, for the snap length": (
        crafted.pcap(HANDSHAKE, patched=True)[:16]
        + struct.pack("<I", len(HANDSHAKE[0]) - 14)
        + crafted.pcap(HANDSHAKE, patched=True)[20:]
    ),
    "NFLOG of another machine": crafted.pcap([NFLOG_FRAME], crafted.NFLOG, ">"),
    "interfaces that differ, late": (
        crafted.pcapng(HANDSHAKE * 3)
        + interface(NULL)
        + enhanced(b"\x02\0\0\0" + udp(RESPONSE, back=True), 1)
        + crafted.pcapng(HANDSHAKE, ">")
    ),
    "snap lengths that differ": (
        section()
        + interface(snap_length=2000)
        + interface(snap_length=1000)
        + enhanced(HANDSHAKE[0])
        + enhanced(HANDSHAKE[1], 1)
    ),
    "a frame that libpcap refuses": (
        section() + interface(snap_length=99) + b"".join(map(enhanced, HANDSHAKE))
    ),
}


@pytest.mark.parametrize("content", RARE.values(), ids=RARE)
def test_a_plain_file_is_read_as_a_compressed_one_is(
    tmp_path: Path, candidates: CandidateFilter, content: bytes
) -> None:
    """The one by libpcap, as far as it can, the other by a walk of our own."""
    plain, compressed = tmp_path / "plain", tmp_path / "compressed"
    plain.write_bytes(content)
    compressed.write_bytes(gzip.compress(content))
    found = list(CaptureFile(plain, candidates).networks())
    assert found
    assert list(CaptureFile(compressed, candidates).networks()) == found


@pytest.mark.parametrize(
    ("header", "what"),
    [
        (PLAIN[:4] + struct.pack("<HH", 3, 0) + PLAIN[8:], "savefile version 3.0"),
        (PLAIN[:4] + struct.pack("<HH", 2, 5) + PLAIN[8:], "savefile version 2.5"),
        (PLAIN[:22] + b"\x01\0" + PLAIN[24:], "reserved"),
    ],
)
def test_headers_that_libpcap_rejects_are_rejected_compressed(
    tmp_path: Path, candidates: CandidateFilter, header: bytes, what: str
) -> None:
    for name, content in (("plain", header), ("compressed", gzip.compress(header))):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(DamagedCapture, match=what):
            list(CaptureFile(path, candidates))


def test_a_file_that_libpcap_gives_up_is_read_once(
    tmp_path: Path, candidates: CandidateFilter
) -> None:
    """What it gave out by then does not come again, and damage is told."""
    path = tmp_path / "mixed.pcapng"
    path.write_bytes(
        crafted.pcapng(HANDSHAKE * 2) + interface(NULL) + enhanced(b"x", 7)
    )
    found: list[Recorded] = []
    with pytest.raises(DamagedCapture, match="interface 7, which is not described"):
        found.extend(CaptureFile(path, candidates))
    assert payloads(found) == PAYLOADS * 2


def test_nflog_captures_need_no_filter(
    tmp_path: Path, candidates: CandidateFilter
) -> None:
    frame = crafted.nflog(udp(INITIATION))
    path = tmp_path / "nflog.pcap"
    path.write_bytes(crafted.pcap([frame, b"\x02\0\0\x05"], 239))
    assert payloads(list(CaptureFile(path, candidates))) == [INITIATION]


@pytest.mark.parametrize("content", [crafted.pcap([]), crafted.pcapng([])])
def test_no_packets_is_no_error(
    tmp_path: Path, candidates: CandidateFilter, content: bytes
) -> None:
    path = tmp_path / "empty"
    path.write_bytes(content)
    assert list(CaptureFile(path, candidates)) == []


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", r"not a capture \(empty\)"),
        (b"#!/bin/sh\necho hello\n", r"not a capture \(neither pcap nor pcapng\)"),
        (gzip.compress(b"text", mtime=0), r"not a capture \(neither pcap nor pcapng\)"),
        (gzip.compress(bytes(50 << 20)), r"not a capture \(neither pcap nor pcapng\)"),
    ],
)
def test_other_files_are_refused_in_one_line(
    tmp_path: Path, candidates: CandidateFilter, content: bytes, what: str
) -> None:
    path = tmp_path / "other"
    path.write_bytes(content)
    with pytest.raises(UnreadableInput, match=what) as refused:
        list(CaptureFile(path, candidates))
    assert len(refused.value.lines) == 1


@pytest.mark.parametrize(
    ("header", "what"),
    [
        (bytes.fromhex("d4c3b2a102"), "truncated dump file"),
        (
            bytes.fromhex("d4c3b2a1 0900 0000 00000000 00000000 00000400 01000000"),
            "unsupported pcap savefile version 9",
        ),
    ],
)
def test_a_file_header_that_libpcap_rejects_is_told_in_its_words(
    tmp_path: Path, candidates: CandidateFilter, header: bytes, what: str
) -> None:
    path = tmp_path / "header.pcap"
    path.write_bytes(header)
    with pytest.raises(DamagedCapture, match=rf"damaged capture \({what}") as told:
        list(CaptureFile(path, candidates))
    assert len(told.value.lines) == 1


def test_what_cannot_be_opened_is_refused_in_one_line(
    tmp_path: Path, candidates: CandidateFilter
) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        for name in ("nothing", "", "socket"):
            with pytest.raises(UnreadableInput) as refused:
                list(CaptureFile(tmp_path / name, candidates))
            assert len(refused.value.lines) == 1


def test_a_broken_gzip_stream_gives_out_what_it_held(
    tmp_path: Path, candidates: CandidateFilter
) -> None:
    content = bytearray(gzip.compress(crafted.pcap(HANDSHAKE * 2000), 0))
    content[-100_000] ^= 0xFF
    content[-8] ^= 0xFF  # the checksum
    path = tmp_path / "broken.gz"
    path.write_bytes(content)
    found: list[Recorded] = []
    with pytest.raises(DamagedCapture):
        found.extend(CaptureFile(path, candidates))
    assert payloads(found)[:2] == PAYLOADS


class TestSearch:
    def test_a_file_stands_for_itself_under_the_name_given(
        self, tmp_path: Path
    ) -> None:
        given = f"{tmp_path}/./no.such"
        assert list(captures(given)) == [(given, Path(given))]
        assert list(captures("")) == [("", Path())]

    def test_a_folder_stands_for_the_captures_below_it(self, tmp_path: Path) -> None:
        content = {
            "b.pcap": crafted.pcap([]),
            "a/z": crafted.pcapng([]),
            "a/y.gz": gzip.compress(crafted.pcap([])),
            "a/only-by-name.PCAPNG.gz": b"\x1f\x8bbroken",
            "readme.txt": b"text",
            "text.gz": gzip.compress(b"text"),
            "broken.gz": b"\x1f\x8bbroken",
            "cut.gz": gzip.compress(crafted.pcap([]))[:12],
            "empty": b"",
        }
        for name, data in content.items():
            path = tmp_path / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
        os.mkfifo(tmp_path / "pipe.pcap")
        (tmp_path / "loop").symlink_to(tmp_path)
        found = [name for name, _ in captures(str(tmp_path))]
        assert found == ["a/only-by-name.PCAPNG.gz", "a/y.gz", "a/z", "b.pcap"]

    def test_a_folder_without_captures_is_an_error(self, tmp_path: Path) -> None:
        (tmp_path / "readme.txt").write_text("text")
        with pytest.raises(UnreadableInput, match="no capture in this folder; give"):
            list(captures(str(tmp_path)))

    def test_what_vanishes_meanwhile_is_left_to_the_reader(
        self, tmp_path: Path
    ) -> None:
        (tmp_path / "a.pcap").write_bytes(crafted.pcap([]))
        (tmp_path / "b").write_bytes(crafted.pcap([]))
        search = captures(str(tmp_path))
        next(search)
        (tmp_path / "b").unlink()
        assert list(search) == [("b", tmp_path / "b")]


def test_data_packets_are_no_candidates(
    tmp_path: Path, candidates: CandidateFilter
) -> None:
    path = tmp_path / "data.pcap"
    path.write_bytes(crafted.pcap([ethernet(udp(DATA))] * 3))
    assert list(CaptureFile(path, candidates)) == []
