# SPDX-License-Identifier: GPL-2.0-or-later
"""Bytes made to harm the second readers: no error, no time that grows."""

import subprocess
import sys
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.second_reading.confirmations import CONFIRMATIONS, TUNNELS
from tests.unit.tunnels import test_ipsec as ipsec
from tests.unit.tunnels import test_l2tp as l2tp
from tests.unit.tunnels.crafting import packet
from vpngate.packets import Packet, Transport
from vpngate.tunnels.messages import layers

READERS = {name: tunnel.second() for name, tunnel in TUNNELS.items()}
PACKETS = [p for confirmation in CONFIRMATIONS for p in confirmation.packets()]
PORTS = (500, 4500, 1701, 1723, 1194, 51820, 40000)
SEED = 11


def read_by_all(one: Packet) -> None:
    for read in READERS.values():
        seen = read(one)
        assert seen is None or seen.layer is not None


def test_random_bytes_are_read_without_an_error() -> None:
    random = Random(SEED)
    for _ in range(1500):
        transport = random.choice(list(Transport))
        ports = (random.choice(PORTS), random.choice(PORTS))
        payload = random.randbytes(random.choice((0, 1, 8, 12, 28, 64, 148, 1436)))
        one = packet(transport, payload, ports if transport.has_ports else (0, 0))
        read_by_all(one)
        read_by_all(one._replace(length=random.randrange(1 << 16)))


@given(
    st.sampled_from(PACKETS),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=4),
    st.integers(0, 400),
)
def test_damaged_messages_are_read_without_an_error(
    one: Packet, damage: list[tuple[int, int]], size: int
) -> None:
    payload = bytearray(one.payload)
    for at, value in damage:
        if at < len(payload):
            payload[at] = value
    read_by_all(one._replace(payload=bytes(payload)))
    read_by_all(one._replace(payload=bytes(payload[:size])))
    read_by_all(one._replace(payload=bytes(payload[:size]), length=size))


def test_whatever_scapy_raises_the_bytes_are_no_message(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def raising(*_: Any) -> bytes:
        raise RecursionError

    for confirmation in CONFIRMATIONS:
        with monkeypatch.context() as patch:
            patch.setattr("scapy.packet.Packet.do_dissect", raising)
            for one in confirmation.packets():
                assert READERS[confirmation.tunnel](one) is None


def dense_ike(version: int, count: int = 341, size: int = 1436) -> bytes:
    """That many payloads, the first with what there is to fill the size."""
    body = size - 28 - 4 * count
    kind = 43 if version == 2 else 13
    small = [ipsec.payload(kind, b"") for _ in range(count - 2)]
    small.append(ipsec.payload(0, b""))
    first = ipsec.payload(kind, b"\0\0\0\1" + bytes(body - 4))
    fields: dict[str, Any] = {"version": version, "responder": ipsec.NONE}
    if version == 2:
        return ipsec.ike(first + b"".join(small), 33, 34, 0x08, **fields)
    return ipsec.ike(first + b"".join(small), 1, 2, **fields)


def dense_l2tp(count: int = 220) -> bytes:
    avps = [l2tp.avp(1, b"", vendor=9, flags=0)] * (count - 4)
    return l2tp.control(l2tp.SCCRQ, l2tp.PROTOCOL, l2tp.HOST, l2tp.assigned(1), *avps)


def crowded() -> Iterator[tuple[str, Packet]]:
    """As many headers as fit into a packet."""
    for version in (1, 2):
        message = dense_ike(version)
        yield "ipsec", packet(Transport.UDP, message, ipsec.IKE)
        marked = ipsec.MARKER + dense_ike(version, 340, 1432)
        yield "ipsec", packet(Transport.UDP, marked, ipsec.NATT)
    yield "l2tp", packet(Transport.UDP, dense_l2tp(), l2tp.PORTS)


def full() -> Iterator[tuple[str, Packet]]:
    """As many headers as a message of ours may have."""
    for version in (1, 2):
        yield "ipsec", packet(Transport.UDP, dense_ike(version, 32), ipsec.IKE)
    yield "l2tp", packet(Transport.UDP, dense_l2tp(32), l2tp.PORTS)


def test_a_message_with_as_many_as_allowed_is_one() -> None:
    for name, one in full():
        seen = READERS[name](one)
        assert seen is not None
        assert seen.message == TUNNELS[name].read(one) is not None


def test_a_message_full_of_headers_is_left_after_a_few(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """1,436 bytes hold 342 payloads of IKE; a message of ours has 32 at the most."""
    laid = 0

    def counting(kind: Any, data: bytes) -> Any:
        nonlocal laid
        laid += 1
        return original(kind, data)

    original = layers.laid_over
    for module in ("ike", "l2tp", "ipsec"):
        monkeypatch.setattr(f"vpngate.tunnels.messages.{module}.laid_over", counting)
    for name, one in crowded():
        laid = 0
        seen = READERS[name](one)
        assert seen is not None
        assert seen.message is None
        # Marker, header, the payloads that are allowed, and the one too many.
        assert 30 < laid <= 2 + 32 + 1


@pytest.mark.parametrize("name", TUNNELS)
def test_without_scapy_a_second_reading_is_not_available(name: str) -> None:
    code = (
        "import sys; sys.modules['scapy'] = None\n"
        "from vpngate.second_reading import Outcome, second_reading\n"
        "from vpngate.tunnels import all_tunnels\n"
        f"tunnel = next(t for t in all_tunnels() if t.name == {name!r})\n"
        "assert second_reading(tunnel, []) is Outcome.UNAVAILABLE\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
