# SPDX-License-Identifier: GPL-2.0-or-later
"""Registries that break on the way: rows, envelopes, gzip, what is remembered."""

import gzip
import json
from ipaddress import ip_address, ip_network

from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.mutations import mistyped, mutated
from tests.unit.registry.standing import stands_at
from vpngate.errors import InvalidRegistry
from vpngate.packets import Family, parse_address
from vpngate.registry import (
    Limits,
    Loaded,
    Registry,
    carry_over,
    empty_registry,
    load,
    recall_departed,
    remember_departed,
)
from vpngate.registry.columns.entries import rows_of_roll
from vpngate.timekeeping.clock import Clock, Reading, read_clock, restore_clock

NOW = 1_800_000_000.0
LIMITS = Limits(max_bytes=20_000, max_rejected=1.0, grace=72 * 3600.0)

_HEADER = "prefix,registration,tunnels,valid_from,valid_until\n"
_ROWS = [
    "192.0.2.0/24,R-1,wireguard+openvpn,2025-01-01,9999-12-31\n",
    "192.0.2.0/25,R-2,,,\n",
    '"198.51.100.7/32",R-3,ipsec,0001-01-01,2027-06-01T12:00:00+14:00\n',
    "2001:db8::/32,R-4,,,2026-01-01\n2001:db8:0:1::/64,R-5,,,\n",
    "0.0.0.0/0,R-6,,,\n::/0,R-7,,,\n",
    "# nobody\n\n203.0.113.255/32,R-8,pptp,2030-01-01,\n",
]
_SHEETS = [_HEADER + "".join(_ROWS[n:]) for n in range(len(_ROWS))]
_ITEMS = [
    {"prefix": "192.0.2.0/24", "registration": "R-1", "tunnels": ["wireguard"]},
    {"prefix": "2001:db8::/32", "registration": "R-2", "valid_until": "2027-01-01"},
]
_ENVELOPE = {
    "registry": "example",
    "serial": 7,
    "generated": "2026-01-01T00:00:00Z",
    "expires": "2027-01-01",
    "sentinels": ["192.0.2.0/24"],
    "registrations": _ITEMS,
}
_JSON = [
    json.dumps(_ENVELOPE, indent=1),
    json.dumps({"registrations": _ITEMS * 3}),
]
_MARKS = [
    *(
        ",",
        '"',
        "\n",
        "\r",
        "/",
        "/0",
        "/128",
        "/-1",
        ":",
        "::",
        ".",
        "-",
        "+",
        "%eth0",
    ),
    *("{", "}", "[", "]", "null", "true", "1e999", "\\ud800", "\\n", "\\u0000", "[[[["),
    *("9999-12-31", "0001-01-01", "2026-12-31 18:00", "W", "Z", "+23:59", "-23:59"),
    *("9" * 400, "192.0.2.0/24,R-1\n", "::ffff:192.0.2.0/120", "\t", "#", "\ufeff"),
    *("\u0661", "\x85", "\u2028", "\0", " "),
]
_TEXTS = mistyped(_SHEETS, _MARKS) | mistyped(_JSON, _MARKS)
_CONTENTS = (
    _TEXTS.map(lambda text: text.encode(errors="surrogatepass"))
    | mutated([sheet.encode() for sheet in _SHEETS])
    | _TEXTS.map(lambda t: gzip.compress(t.encode(errors="surrogatepass"), mtime=0))
    | mutated([gzip.compress(text.encode(), mtime=0) for text in _SHEETS + _JSON])
    | st.binary(max_size=100)
)
_ADDRESSES = [
    parse_address(text)
    for text in (
        *("192.0.2.1", "192.0.2.129", "198.51.100.7", "203.0.113.255", "8.8.8.8"),
        *("2001:db8::1", "2001:db8:0:1::1", "2001:4860::1", "::", "0.0.0.0"),
    )
]


def _loaded(content: bytes) -> Loaded | None:
    """The registry, or None if it was refused in words that can be printed."""
    try:
        return load(content, limits=LIMITS, now=NOW)
    except InvalidRegistry as error:
        problems = error.problems
    assert problems
    for problem in problems:
        _assert_one_line(str(problem))
    return None


def _assert_one_line(text: str) -> None:
    assert text.splitlines() == [text]
    assert len(text.encode()) < 4000


def _assert_sane(registry: Registry) -> None:
    for address in _ADDRESSES:
        found = registry.lookup(address, NOW)
        matches = registry.matches(address, NOW)
        for match in matches:
            _assert_one_line(str(match))
        if found is None:
            assert not any(stands_at(match, NOW) for match in matches)
        else:
            assert stands_at(found, NOW)
            assert found.prefix in {match.prefix for match in matches}
    change = registry.next_change(NOW)
    assert change is None or change > NOW
    _assert_covers_no_more_than_its_rows(registry)


def _assert_covers_no_more_than_its_rows(registry: Registry) -> None:
    """What is covered is, address for address, what the accepted rows say."""
    covered = registry.covered(NOW)
    rows = [*rows_of_roll(registry.current), *rows_of_roll(registry.kept)]
    networks = {ip_network(str(prefix)) for prefix, *_ in rows}
    for family in Family:
        sizes = [n.num_addresses for n in networks if n.version == family]
        assert covered.addresses[family] <= sum(sizes)
        for edge in (edge for bound in covered.of(family) for edge in bound):
            assert registry.lookup(bytes(edge), NOW) is not None
            address = ip_address(bytes(edge))
            assert any(address in network for network in networks)


@given(_CONTENTS)
def test_a_registry_is_loaded_or_refused(content: bytes) -> None:
    loaded = _loaded(content)
    if loaded is None:
        return
    registry = loaded.registry
    assert len(registry) + loaded.rejected == loaded.rows
    assert len(loaded.problems) <= LIMITS.max_problems
    assert bool(loaded.problems) == bool(loaded.rejected)
    for problem in loaded.problems:
        _assert_one_line(str(problem))
    if registry.name is not None:
        _assert_one_line(registry.name or "-")
    _assert_sane(registry)


@given(_CONTENTS, st.sampled_from(_SHEETS))
def test_a_broken_successor_ends_nobody_at_once(content: bytes, before: str) -> None:
    """What stood stands for its grace, whatever comes after it."""
    loaded = _loaded(content)
    old = _loaded(before.encode())
    assert old is not None
    if loaded is None:
        return
    new = carry_over(old.registry, loaded.registry, LIMITS.grace, NOW)
    for address in _ADDRESSES:
        if old.registry.lookup(address, NOW) is not None:
            assert new.lookup(address, NOW) is not None
    _assert_sane(new)
    memory = remember_departed(new)
    assert remember_departed(recall_departed(new, memory)) == memory


_STOOD = load(_SHEETS[0].encode(), limits=LIMITS, now=NOW).registry
_MEMORIES = [
    remember_departed(carry_over(_STOOD, empty_registry(), grace, now))
    for grace, now in ((3600.0, NOW), (72 * 3600.0, NOW - 5 * 10**7))
]


@given(
    mutated(_MEMORIES)
    | mistyped([memory.decode() for memory in _MEMORIES], [*_MARKS, "nan", "inf"]).map(
        lambda text: text.encode(errors="surrogatepass")
    )
)
def test_a_memory_is_recalled_or_damaged(memory: bytes) -> None:
    try:
        registry = recall_departed(empty_registry(), memory)
    except ValueError:
        return
    assert sum(map(len, registry.kept)) <= memory.count(b",") // 5
    _assert_sane(registry)


_CLOCK = read_clock(None, Reading(NOW, 5.0, "boot"), 60.0)
_CLOCKS = [
    _CLOCK.dump(),
    read_clock(_CLOCK, Reading(NOW + 9000, 6.0, "boot"), 60.0).dump(),
]


@given(
    mistyped(_CLOCKS, ["[", "]", "{", "}", ",", "1", "9" * 400, "NaN", "Infinity", "-"])
)
def test_a_clock_is_restored_or_damaged(text: str) -> None:
    try:
        clock = restore_clock(text)
    except ValueError:
        return
    assert isinstance(clock, Clock)
    later = read_clock(clock, Reading(NOW, 1.0, "other"), 60.0)
    assert later.span.earliest <= NOW <= later.span.latest
    assert restore_clock(later.dump()) == later
