# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's answers about rules that drop by the way back to a source."""

import struct

import pytest

from vpngate.kernel.survey.reverse_path import read_filters, read_prerouting
from vpngate.kernel.wire.attributes import attribute

INET, IP6, IP = 1, 10, 2


def word(kind: int, value: int) -> bytes:
    return attribute(kind, value.to_bytes(4))


def text(kind: int, value: str) -> bytes:
    return attribute(kind, value.encode() + b"\0")


def nested(kind: int, *parts: bytes) -> bytes:
    return attribute(kind, b"".join(parts), nested=True)


def expression(name: str, *data: bytes) -> bytes:
    return nested(1, text(1, name), nested(2, *data))


def rule(*expressions: bytes, family: int = INET) -> bytes:
    head = struct.pack("=BBH", family, 0, 0)
    place = text(1, "own") + text(2, "early")
    return head + place + nested(4, *expressions)


def chain(hook: int | None, family: int = INET) -> bytes:
    head = struct.pack("=BBH", family, 0, 0)
    where = (
        b"" if hook is None else nested(4, word(1, hook), word(2, -300 & 0xFFFFFFFF))
    )
    return head + text(1, "own") + text(3, "early") + where


def rpfilter(flags: int) -> bytes:
    """`ip6tables -m rpfilter`: its data is one byte of flags, padded."""
    info = attribute(3, bytes([flags]) + bytes(7))
    return expression("match", text(1, "rpfilter"), word(2, 0), info)


FIB = expression("fib", word(1, 1), word(2, 1), word(3, 0b101001))
DROP = expression("immediate", word(1, 0), nested(2, nested(2, word(1, 0))))
ACCEPT = expression("immediate", word(1, 0), nested(2, nested(2, word(1, 1))))
EARLY = (INET, "own", "early")


@pytest.mark.parametrize(
    ("answer", "places"),
    [
        (chain(0), [EARLY]),
        (chain(0, IP6), [(IP6, "own", "early")]),
        (chain(0, IP), []),
        (chain(2), []),
        (chain(None), []),
    ],
)
def test_chains_before_routing(
    answer: bytes, places: list[tuple[int, str, str]]
) -> None:
    assert list(read_prerouting([answer])) == places


@pytest.mark.parametrize(
    ("expressions", "filters"),
    [
        pytest.param((FIB, DROP), True, id="nft"),
        pytest.param((rpfilter(0b1000), DROP), True, id="xt"),
        pytest.param((rpfilter(0b1010), DROP), True, id="xt, by mark"),
        pytest.param((rpfilter(0b1001), DROP), False, id="xt, loose"),
        pytest.param((rpfilter(0b0000), DROP), False, id="xt, not inverted"),
        pytest.param((FIB, ACCEPT), False, id="it lets pass"),
        pytest.param((DROP,), False, id="it asks for nothing"),
        pytest.param(
            (expression("match", text(1, "limit")), DROP), False, id="a limit"
        ),
        pytest.param(
            (expression("fib", word(2, 1), word(3, 0b100001)), DROP), False, id="loose"
        ),
        pytest.param(
            (expression("fib", word(2, 3), word(3, 0b001001)), DROP), False, id="types"
        ),
        pytest.param((), False, id="empty"),
    ],
)
def test_rules(expressions: tuple[bytes, ...], *, filters: bool) -> None:
    assert list(read_filters([rule(*expressions)])) == ([EARLY] if filters else [])
