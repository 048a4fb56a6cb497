# SPDX-License-Identifier: GPL-2.0-or-later
"""What a signature can say, and what it refuses to."""

import pytest

from tests.unit.signatures.plain_rules import rules_of
from vpngate.expressions import Payload
from vpngate.packets import Transport
from vpngate.signatures import Field, Shape, Signature
from vpngate.signatures.declaration import MAX_OFFSET

SHAPE = Shape((Field(0, b"\1"),))


@pytest.mark.parametrize(
    ("offset", "value", "mask", "reason"),
    [
        (-1, b"\1", None, "starts at"),
        (196, b"\1", None, "starts at"),
        (0, b"", None, "1 to 16 bytes"),
        (0, bytes(17), None, "1 to 16 bytes"),
        (0, b"\1\2", b"\xff", "as long as"),
        (0, b"\1\0", b"\xff\0", "ends with a byte"),
        (0, b"\3", b"\1", "no bits outside"),
    ],
)
def test_fields_that_no_compiler_could_express(
    offset: int, value: bytes, mask: bytes | None, reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        Field(offset, value, mask)


@pytest.mark.parametrize("lengths", [(-1, 2), (5, 4), (0, 65528)])
def test_lengths_that_udp_cannot_have(lengths: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="no range of UDP lengths"):
        Shape((), (lengths,))


def test_a_shape_that_fits_everything() -> None:
    with pytest.raises(ValueError, match="compares something"):
        Shape(())


@pytest.mark.parametrize(
    ("transport", "shapes", "ports", "reason"),
    [
        (Transport.UDP, (), (), "has a shape"),
        (Transport.ESP, (SHAPE,), (500,), "esp has no ports"),
        (Transport.TCP, (Shape((), ((1, 2),)),), (), "only UDP's lengths"),
    ],
)
def test_signatures_that_make_no_sense(
    transport: Transport,
    shapes: tuple[Shape, ...],
    ports: tuple[int, ...],
    reason: str,
) -> None:
    with pytest.raises(ValueError, match=reason):
        Signature("bad", transport, shapes, frozenset(ports))


@pytest.mark.parametrize(
    ("transport", "lengths", "reason"),
    [
        (Transport.TCP, (), "only UDP's fragments"),
        (Transport.UDP, ((30, 40), (50, 50)), "fits a packet"),
    ],
)
def test_what_no_fragment_is_enough_for(
    transport: Transport, lengths: tuple[tuple[int, int], ...], reason: str
) -> None:
    shape = Shape((Field(0, b"\1"),), lengths)
    with pytest.raises(ValueError, match=reason):
        Signature("bad", transport, (SHAPE, shape), fragments=True)


def test_the_last_field_is_within_reach_behind_every_header() -> None:
    """A load starts at most 255 bytes behind the transport header's start."""
    signature = Signature("far", Transport.TCP, (Shape((Field(MAX_OFFSET, b"\1"),)),))
    loads = [rule[-2] for rule in rules_of(signature)]
    offsets = [load.offset for load in loads if isinstance(load, Payload)]
    assert len(offsets) == len(loads)
    assert max(offsets) == 255


@pytest.mark.parametrize(
    ("ports", "ranges"),
    [
        ((), ()),
        ((500,), ((500, 500),)),
        ((4500, 500, 501, 502), ((500, 502), (4500, 4500))),
        ((65535, 0), ((0, 0), (65535, 65535))),
    ],
)
def test_ports_as_ranges(
    ports: tuple[int, ...], ranges: tuple[tuple[int, int], ...]
) -> None:
    signature = Signature("any", Transport.UDP, (SHAPE,), frozenset(ports))
    assert signature.port_ranges == ranges


@pytest.mark.parametrize(
    ("field", "payload", "holds"),
    [
        (Field(1, b"\2\3"), b"\1\2\3", True),
        (Field(1, b"\2\3"), b"\1\2\4", False),
        (Field(1, b"\2\3"), b"\1\2", False),
        (Field(1, b"\2\3", differs=True), b"\1\2", False),
        (Field(1, b"\2\3", differs=True), b"\1\2\4", True),
        (Field(0, b"\x40", b"\xf0"), b"\x4f", True),
        (Field(0, b"\x40", b"\xf0"), b"\x5f", False),
        (Field(0, b"\x40", b"\xf0", differs=True), b"\x5f", True),
    ],
)
def test_holding(field: Field, payload: bytes, *, holds: bool) -> None:
    assert field.holds(payload) is holds
    assert field.holds(b"before" + payload, 6) is holds
