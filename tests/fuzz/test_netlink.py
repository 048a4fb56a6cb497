# SPDX-License-Identifier: GPL-2.0-or-later
"""Netlink messages, damaged: NFLOG's packets, announcements, answers of the kernel."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.mutations import mutated
from tests.unit.capture.crafted import HANDSHAKE, udp
from vpngate.capture.live.nflog_messages import (
    acknowledgement,
    bind_request,
    logged_packets,
)
from vpngate.kernel.wire import elements
from vpngate.kernel.wire.attributes import (
    HEADER,
    attribute,
    attributes,
    each_attribute,
    each_message,
    located,
)
from vpngate.kernel.wire.elements import Element
from vpngate.kernel.wire.links import read_announcements


def _message(kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    return HEADER.pack(HEADER.size + len(body), kind, 0, 1, 0) + body


def _logged(payload: bytes, hook: int, sequence: int) -> bytes:
    body = b"\x05\0\0\x07"
    body += attribute(1, struct.pack(">HBx", 0x0800, hook))
    body += attribute(3, struct.pack(">QQ", 1_700_000_000, 250_000))
    body += attribute(4 + hook, (7).to_bytes(4)) + attribute(12, sequence.to_bytes(4))
    return _message(0x400, body + attribute(9, payload))


def _link(kind: int, name: str) -> bytes:
    body = struct.pack("=BxHiII", 0, 1, 7, 1, 0)
    info = attribute(1, b"veth\0")
    body += attribute(3, name.encode() + b"\0") + attribute(18, info, nested=True)
    body += attribute(5, struct.pack("=I", 3)) + attribute(10, struct.pack("=I", 4))
    return _message(kind, body)


def _traffic_control(kind: int) -> bytes:
    return _message(kind, struct.pack("=BxxxiIII", 0, 7, 1, 0xFFFFFFFF, 0))


_BIND = bind_request(7, threshold=64, timeout=1, batch_bytes=4096, sequence=1)
_REFUSAL = _message(2, struct.pack("=i", -16) + _BIND[: HEADER.size])
_NFLOG = [
    _BIND,
    _REFUSAL,
    _logged(udp(b"x" * 30), 0, 1) + _logged(HANDSHAKE[0], 1, 2),
    _logged(b"", 0, 2**32 - 1) + _REFUSAL,
]
_ROUTE = [
    _link(16, "eth0") + _link(17, "ifb0"),
    *map(_traffic_control, (36, 37, 45)),
    _link(16, "a" * 15) + _traffic_control(37),
]
_ANSWERS = [
    elements.get("vpngate", "verdicts", b"\x0a\0\0\1" * 3),
    elements.add("vpngate", "armed", [Element(b"\1", 30.0, b"\0\0\0\5")])[0].data,
]


@given(mutated(_NFLOG) | st.binary(max_size=200))
def test_logged_packets(datagram: bytes) -> None:
    view = memoryview(datagram)
    found = list(logged_packets(view))
    assert sum(len(logged.payload) for logged in found) <= len(datagram)
    for logged in found:
        assert logged.payload in datagram
        assert 0 <= logged.ifindex < 1 << 32
        assert logged.sequence is None or 0 <= logged.sequence < 1 << 32
        assert logged.timestamp is None or logged.timestamp >= 0
    answer = acknowledgement(view, 1)
    assert answer is None or -(2**31) <= answer <= 2**31


@given(mutated(_ROUTE) | st.binary(max_size=200))
def test_announcements(datagram: bytes) -> None:
    for announcement in read_announcements(datagram):
        assert announcement.link is None or (
            announcement.link.index == announcement.index
        )


@given(mutated(_NFLOG + _ROUTE + _ANSWERS) | st.binary(max_size=200))
def test_messages_and_attributes_lie_within(datagram: bytes) -> None:
    bodies = [body for *_, body in each_message(datagram)]
    assert sum(map(len, bodies)) <= len(datagram)
    for offset in (0, 4, HEADER.size):
        found = list(each_attribute(datagram, offset))
        assert attributes(datagram, offset) == dict(found)
        places = located(datagram, offset)
        assert {kind: datagram[a:b] for kind, (a, b) in places.items()} == dict(found)


@given(mutated([answer[HEADER.size :] for answer in _ANSWERS]))
def test_answers_about_elements(body: bytes) -> None:
    """An answer names its element, or lacks one and is a KeyError."""
    for read in (elements.key_of, elements.remaining):
        try:
            found = read(body)
        except KeyError:
            continue
        assert not isinstance(found, bytes) or found in body
