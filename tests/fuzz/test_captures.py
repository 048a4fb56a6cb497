# SPDX-License-Identifier: GPL-2.0-or-later
"""Broken captures: whatever bytes stand in a file, it ends in flows or one line."""

import gzip
import io
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.mutations import mutated
from tests.unit.capture import crafted
from tests.unit.capture.crafted import HANDSHAKE
from vpngate.capture.candidates import CandidateFilter
from vpngate.capture.files import pcap, pcapng
from vpngate.capture.files.file import CaptureFile
from vpngate.capture.files.record import Damage, Record
from vpngate.capture.replay import Replay
from vpngate.cli.printing.readable_moments import moment
from vpngate.errors import UnreadableInput
from vpngate.recognition import Evidence
from vpngate.tunnels import all_tunnels

_ANYTHING = CandidateFilter(("ip", "ip6"))
_REPLAY = Replay(all_tunnels())
_TIMES = crafted.option(9, b"\x00") + crafted.option(14, bytes(8)) + bytes(4)
_PCAP = [
    crafted.pcap(HANDSHAKE),
    crafted.pcap(HANDSHAKE, order=">", nano=True),
    crafted.pcap(HANDSHAKE, patched=True),
]
# A snap length shorter than frames, lengths turned round, TLVs of another machine.
_RARE = [
    _PCAP[0][:16] + b"\x64" + _PCAP[0][17:],
    *(_PCAP[0][:6] + bytes([minor]) + _PCAP[0][7:] for minor in (2, 3)),
    crafted.pcap([crafted.nflog(HANDSHAKE[0][14:], ">")], crafted.NFLOG, ">"),
]
_PCAPNG = [
    crafted.pcapng(HANDSHAKE),
    crafted.pcapng(HANDSHAKE, ">"),
    crafted.section()
    + crafted.interface(options=_TIMES, snap_length=400)
    + crafted.interface(crafted.RAW)
    + b"".join(map(crafted.old, HANDSHAKE))
    + b"".join(map(crafted.simple, HANDSHAKE))
    + crafted.enhanced(HANDSHAKE[0][14:], 1)
    + crafted.pcapng(HANDSHAKE, ">"),
]
_PLAIN = mutated(_PCAP + _PCAPNG) | st.binary(max_size=100)
_FILES = (
    _PLAIN
    | _PLAIN.map(lambda content: gzip.compress(content, 1))
    | mutated([gzip.compress(content, 1) for content in _PCAP + _PCAPNG])
)


@given(_FILES)
def test_a_capture_ends_in_flows_or_one_line(content: bytes) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        capture = _REPLAY.open(Path(file.name))
        seen = set()
        try:
            for flow, _ in _REPLAY.flows(capture):
                assert flow.flow not in seen
                seen.add(flow.flow)
                assert flow.handshakes > 0 or flow.evidence is Evidence.INITIATION
                assert len(moment(flow.first_seen).splitlines()) == 1
        except UnreadableInput as error:
            assert len(error.lines) == 1  # noqa: PT017 - either way out is fine
        fraction = capture.fraction
        assert fraction is None or 0 <= fraction <= 1


@given(content=mutated(_PCAP + _RARE + _PCAPNG))
def test_libpcap_reads_what_a_walk_reads(content: bytes) -> None:
    """A plain file is libpcap's to read, a compressed one is walked: all the same."""
    with tempfile.TemporaryDirectory() as folder:
        plain, compressed = Path(folder, "plain"), Path(folder, "compressed")
        plain.write_bytes(content)
        compressed.write_bytes(gzip.compress(content, 1))
        found, ending = read_to_the_end(plain)
        walked, other_ending = read_to_the_end(compressed)
    assert [network for network, _ in found] == [network for network, _ in walked]
    assert ending is other_ending
    for (_, moment_), (_, other) in zip(found, walked, strict=True):
        assert moment_ == pytest.approx(other, rel=1e-12, abs=1e-6)


def read_to_the_end(path: Path) -> tuple[list[tuple[bytes, float]], type | None]:
    """The IP packets of a capture, when they were seen, and how that ended."""
    found = []
    try:
        for network in CaptureFile(path, _ANYTHING).networks():
            found.append(network)  # noqa: PERF402 - what came before an error counts
    except UnreadableInput as error:
        return found, type(error)
    return found, None


@pytest.mark.parametrize("format_", [pcap, pcapng], ids=["pcap", "pcapng"])
@given(content=mutated(_PCAP + _PCAPNG), chunk=st.integers(1, 70))
def test_pieces_read_like_the_whole(
    format_: ModuleType, content: bytes, chunk: int
) -> None:
    """Records, damage and all, whatever the pieces in which a pipe delivers them."""
    valid = pcap.is_pcap if format_ is pcap else pcapng.is_pcapng
    if not valid(content):
        return

    def wanted(_link_type: int) -> Callable[[bytes], bool]:
        return lambda _frame: True

    def everything(stream: io.BytesIO, size: int) -> Iterator[Record | str]:
        def read(most: int) -> bytes:
            return stream.read(min(most, size))

        try:
            yield from format_.records(stream.read(max(size, 4)), read, wanted)
        except Damage as damage:
            yield str(damage)

    whole = list(everything(io.BytesIO(content), len(content)))
    assert list(everything(io.BytesIO(content), chunk)) == whole
    frames = [record.frame for record in whole if isinstance(record, Record)]
    assert sum(map(len, frames)) <= len(content)
    assert all(isinstance(record, Record) for record in whole[:-1])
