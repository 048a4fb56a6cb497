# SPDX-License-Identifier: GPL-2.0-or-later
"""Broken captures: whatever bytes stand in a file, it ends in packets or one line."""

import gzip
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.capture import crafted
from tests.unit.capture.crafted import HANDSHAKE
from vpngate.capture.replay import Replay
from vpngate.errors import UnreadableInput
from vpngate.tunnels import all_tunnels

_REPLAY = Replay(all_tunnels())
_WHOLE = st.sampled_from(
    [
        crafted.pcap(HANDSHAKE),
        crafted.pcap(HANDSHAKE, order=">", nano=True),
        crafted.pcapng(HANDSHAKE),
        crafted.pcapng(HANDSHAKE, ">"),
    ]
)


@st.composite
def _mutated(draw: st.DrawFn) -> bytes:
    content = bytearray(draw(_WHOLE))
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, len(content) - 1))
        content[at : at + 4] = draw(st.binary(max_size=6))
        if not content:
            break
    packed = gzip.compress(bytes(content)) if draw(st.booleans()) else bytes(content)
    return (
        packed[: draw(st.integers(0, len(packed)))] if draw(st.booleans()) else packed
    )


@given(_mutated() | st.binary(max_size=100))
def test_a_capture_ends_in_flows_or_one_line(content: bytes) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        capture = _REPLAY.open(Path(file.name))
        try:
            for flow in _REPLAY.flows(capture):
                assert flow.flow.transport.label
        except UnreadableInput as error:
            assert len(error.lines) == 1  # noqa: PT017 - either way out is fine
