# SPDX-License-Identifier: GPL-2.0-or-later
"""What is written is what is read again, and the same for the same registrations."""

import json
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpngate.packets import Family
from vpngate.prefixes.prefix import Prefix
from vpngate.registry import Limits, Loaded, load
from vpngate.registry.columns.entries import Row, draw_up, rows_of_roll
from vpngate.registry.columns.terms import Terms
from vpngate.registry.reading.envelope import Envelope
from vpngate.registry.writing import write_registry
from vpngate.timekeeping.moments import ALWAYS, NEVER

_LAST = 253402300799  # the year 9999 ends
_MOMENTS = st.integers(0, _LAST).map(float)


@st.composite
def prefixes(draw: st.DrawFn) -> Prefix:
    width = draw(st.sampled_from([family.width for family in Family]))
    length = draw(st.integers(0, 8 * width))
    bits = draw(st.integers(0, 2**length - 1)) << (8 * width - length)
    return Prefix(bits.to_bytes(width, "big"), length)


@st.composite
def terms(draw: st.DrawFn) -> Terms:
    names = st.sampled_from(["wireguard", "openvpn", "other-1"])
    since = draw(st.just(ALWAYS) | _MOMENTS)
    until = draw(st.just(NEVER) | _MOMENTS.filter(lambda moment: moment > since))
    return Terms(tuple(draw(st.lists(names, max_size=3))), since, until)


ROWS = st.lists(
    st.builds(
        Row, prefixes(), st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True), terms()
    ),
    max_size=20,
)
ENVELOPES = st.builds(
    Envelope,
    name=st.none() | st.text(max_size=128).filter(str.isprintable),
    serial=st.none() | st.integers(0, 2**53 - 1),
    generated=st.none() | _MOMENTS,
    expires=st.none() | _MOMENTS,
    sentinels=st.lists(prefixes().map(str), max_size=3).map(tuple),
    suspend=st.just("") | st.text('aä😀"\\,', min_size=1, max_size=256),
)


def written(rows: list[Row], envelope: Envelope | None = None) -> bytes:
    return b"".join(write_registry(draw_up(rows), envelope or Envelope()))


def read(data: bytes) -> Loaded:
    return load(data, limits=Limits(), now=0.0)


@pytest.mark.slow
@given(ROWS, ENVELOPES)
def test_what_is_written_is_read_again(rows: list[Row], envelope: Envelope) -> None:
    loaded = read(written(rows, envelope))
    registry = loaded.registry
    assert loaded.problems == ()
    mapped = bytes(10) + b"\xff\xff"
    if not any(row.prefix.network.startswith(mapped) for row in rows):
        assert set(rows_of_roll(registry.current)) == set(rows)
    assert registry.name == envelope.name
    assert registry.serial == envelope.serial
    assert registry.generated == envelope.generated
    assert registry.expires == envelope.expires
    assert registry.sentinels == envelope.sentinels
    assert registry.suspend == envelope.suspend


@pytest.mark.slow
@given(ROWS, st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_matter(rows: list[Row], random: Random) -> None:
    shuffled = [*rows, *rows[:3]]
    random.shuffle(shuffled)
    assert written(shuffled) == written(rows)


def test_a_registration_is_a_line_without_what_it_does_not_say() -> None:
    rows = [
        Row(Prefix(bytes(16), 8), "R", Terms((), 0.0)),
        Row(Prefix(bytes([192, 0, 2, 0]), 24), "R-2", Terms()),
        Row(Prefix(bytes([192, 0, 2, 0]), 24), "R-1", Terms(("wireguard",))),
    ]
    text = written(rows, Envelope(name="näme", serial=7)).decode()
    assert text.splitlines() == [
        '{"registry": "näme", "serial": 7, "registrations": [',
        '{"prefix": "192.0.2.0/24", "registration": "R-1", "tunnels": ["wireguard"]},',
        '{"prefix": "192.0.2.0/24", "registration": "R-2"},',
        '{"prefix": "::/8", "registration": "R", "valid_from": "1970-01-01T00:00:00Z"}',
        "]}",
    ]
    assert json.loads(written([])) == {"registrations": []}
