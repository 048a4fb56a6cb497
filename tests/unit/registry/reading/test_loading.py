# SPDX-License-Identifier: GPL-2.0-or-later
"""Registries as CSV: what is taken, what is refused, and in which words."""

import contextlib
import gzip
import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpngate.errors import InvalidRegistry
from vpngate.packets import Family, parse_address
from vpngate.prefixes.prefix import parse_prefix
from vpngate.registry import Limits, Loaded, Registry, load
from vpngate.registry.columns.terms import TermsTable
from vpngate.registry.reading import row_checks
from vpngate.registry.reading.row_checks import parse_tunnels

HEADER = "prefix,registration,tunnels,valid_from,valid_until\n"
ANY_SHARE = Limits(max_rejected=1.0)
NOW = 1_800_000_000.0


def read(text: str | bytes, limits: Limits = ANY_SHARE) -> Loaded:
    data = text if isinstance(text, bytes) else text.encode()
    return load(data, limits=limits, now=NOW)


def contents(registry: Registry) -> list[tuple[str, str]]:
    return [
        (str(entries.prefix(row)), entries.id(row))
        for entries in registry.current
        for row in range(len(entries))
    ]


def test_a_row_is_read_field_by_field() -> None:
    registry = read(
        HEADER
        + "203.0.113.0/24,R-1001,wireguard+openvpn,2026-01-01,2027-01-01T01:00+01:00\n"
    ).registry
    found = registry.lookup(parse_address("203.0.113.9"), NOW - 10**7)
    assert found is not None
    assert found.prefix == "203.0.113.0/24"
    assert found.id == "R-1001"
    assert found.tunnels == ("wireguard", "openvpn")
    assert found.valid_from == 1767225600
    assert found.valid_until == 1798761600
    assert found.gone_since is None
    assert registry.loaded == NOW
    assert registry.prefixes == {Family.IPV4: 1, Family.IPV6: 0}
    assert len(registry) == 1
    assert (registry.serial, registry.name, registry.expires) == (None, None, None)


SAME = [("192.0.2.0/24", "R-2"), ("203.0.113.0/24", "R-1"), ("2001:db8::/32", "R-3")]


@pytest.mark.parametrize(
    "text",
    [
        "prefix,registration\n203.0.113.0/24,R-1\n192.0.2.0/24,R-2\n2001:db8::/32,R-3\n",
        "prefix,registration\r\n203.0.113.0/24,R-1\r\n192.0.2.0/24,R-2\r\n2001:db8::/32,R-3",
        "prefix,registration\r203.0.113.0/24,R-1\r192.0.2.0/24,R-2\r2001:db8::/32,R-3",
        "\ufeffprefix,registration\n203.0.113.0/24,R-1\n192.0.2.0/24,R-2\n2001:DB8::/32,R-3",
        (
            '# a\n\n prefix , Registration\n203.0.113.0/24 , R-1\n #b,"\n'
            "\t192.0.2.0/24,\tR-2\n2001:db8::/32, R-3 \n"
        ),
        (
            '"prefix","registration"\n"203.0.113.0/24", "R-1"\n"192.0.2.0/24","R-2"\n'
            '2001:db8::/32,"R-3"\n'
        ),
        HEADER + "203.0.113.0/24,R-1\n192.0.2.0/24,R-2,,,\n2001:db8:0::/32,R-3,,\n",
        (
            f"{HEADER}203.0.113.0/24,R-1,,,,,\n,,,,\n192.0.2.0/24,R-2,,,,\n"
            "2001:db8::/32,R-3"
        ),
        (
            "registration,valid_until,prefix\nR-1,,203.0.113.0/24\nR-2,,192.0.2.0/24\n"
            "R-3,,2001:db8::/32\n"
        ),
    ],
    ids=["plain", "crlf", "cr", "bom", "spaces", "quotes", "short", "long", "order"],
)  # fmt: skip
@pytest.mark.parametrize("packed", [False, True], ids=["", "gzip"])
def test_one_registry_written_in_many_ways(text: str, *, packed: bool) -> None:
    data = text.encode()
    loaded = read(gzip.compress(data) if packed else data)
    assert loaded.problems == ()
    assert contents(loaded.registry) == SAME
    assert loaded.rejected == 0
    assert loaded.rows == 3


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("203.0.113.1/24,R-1", "line 3, prefix: '203.0.113.1/24' has host bits set"),
        (",R-1", "line 3, prefix: is missing"),
        ("203.0.113.0/24", "line 3, registration: is missing; write 1 to 64 of"),
        ("203.0.113.0/24,R 1", "line 3, registration: 'R 1' is not 1 to 64 of"),
        ("203.0.113.0/24,R\u00e41", "line 3, registration: 'R\u00e41' is not 1 to 64"),
        ("203.0.113.0/24," + 65 * "R", "line 3, registration: 'RRRRR"),
        ("203.0.113.0/24,R-1,wire guard", "line 3, tunnels: 'wire guard' is not a"),
        ("203.0.113.0/24,R-1,a++b", "line 3, tunnels: '' is not a tunnel's name"),
        ("203.0.113.0/24,R-1," + "+".join("a" * 17), "line 3, tunnels: more than 16"),
        ("203.0.113.0/24,R-1,,2026-13-01", "line 3, valid_from: '2026-13-01' is not a"),
        ("203.0.113.0/24,R-1,,,2026-01-01T00:00", "line 3, valid_until: .* no zone"),
        ("203.0.113.0/24,R-1,,2026-01-02,2026-01-01",
         "line 3, valid_until: 2026-01-01 is not after valid_from, 2026-01-02"),
        ("203.0.113.0/24,R-1,,2026-01-01,2026-01-01", "line 3, valid_until: .* after"),
        ("203.0.113.0/24,R-1,,,,x", "line 3: 6 fields where the header has 5"),
        ('203.0.113.0/24,"R-1', "line 3: a quotation mark is out of place"),
    ],
)  # fmt: skip
def test_a_bad_row_says_where_and_why_and_costs_nobody_else(
    row: str, problem: str
) -> None:
    loaded = read(f"{HEADER}192.0.2.0/24,R-8\n{row}\n198.51.100.0/24,R-9\n")
    (told,) = loaded.problems
    assert re.match(problem, str(told)), told
    assert loaded.rejected == 1
    assert loaded.rows == 3
    assert contents(loaded.registry) == [
        ("192.0.2.0/24", "R-8"),
        ("198.51.100.0/24", "R-9"),
    ]


def test_every_bad_field_of_a_row_is_told() -> None:
    loaded = read(HEADER + "x,?,!,y,z\n")
    assert [problem.where for problem in loaded.problems] == [
        f"line 2, {field}" for field in HEADER.strip().split(",")
    ]
    assert loaded.rejected == 1


def test_the_first_problems_are_told_and_all_counted() -> None:
    loaded = read(HEADER + "x,R-1\n" * 1000, Limits(max_rejected=1, max_problems=20))
    assert len(loaded.problems) == 20
    assert loaded.rejected == loaded.rows == 1000


def test_endless_fields_are_cut_in_messages() -> None:
    loaded = read(HEADER + f"{'9' * 10**4},{'R' * 10**4},{'t' * 10**4},{'2' * 10**4}\n")
    assert len(loaded.problems) == 4
    assert all(len(str(problem)) < 400 for problem in loaded.problems)


def test_bytes_that_are_no_text_cost_their_row_alone() -> None:
    loaded = read(
        HEADER.encode() + b"\xff\xfe,R-1\n203.0.113.0/24,R-\xe4\n192.0.2.0/24,R-2\n"
    )
    assert loaded.rejected == 2
    assert contents(loaded.registry) == [("192.0.2.0/24", "R-2")]


def test_a_stray_quote_does_not_swallow_the_rows_that_follow() -> None:
    loaded = read(
        HEADER + '"203.0.113.0/24,R-1\n192.0.2.0/24,R-2\n198.51.100.0/24,"R-3"\n'
    )
    assert loaded.rejected == 1
    assert [name for _, name in contents(loaded.registry)] == ["R-2", "R-3"]


@pytest.mark.parametrize(
    ("header", "problems"),
    [
        ("", ["line 2: is no header"]),
        ("203.0.113.0/24,R-1", ["line 1: is no header"]),
        ('prefix,"registration', ["line 1: is no header"]),
        ("prefix", ["column 'registration' is missing"]),
        ("prefix,registration,valid_untill", ["column 'valid_untill' is not known"]),
        ("prefix,registration,prefix", ["column 'prefix' is there twice"]),
    ],
)  # fmt: skip
def test_a_wrong_header_makes_the_file_unusable(
    header: str, problems: list[str]
) -> None:
    with pytest.raises(InvalidRegistry) as error:
        read(f"{header}\n203.0.113.0/24,R-1\n")
    told = error.value.problems
    assert len(told) == len(problems)
    assert all(part in str(line) for part, line in zip(problems, told, strict=True))
    assert "the header has prefix,registration" in str(told[0])


@pytest.mark.parametrize(
    ("bad", "good", "usable"),
    [
        (1, 0, True),
        (1, 1, True),
        (2, 38, True),
        (2, 37, False),
        (5, 95, True),
        (6, 94, False),
    ],
)
def test_only_too_many_bad_rows_make_a_file_unusable(
    bad: int, good: int, *, usable: bool
) -> None:
    text = (
        HEADER + "x,R-1\n" * bad + "".join(f"10.0.{n}.0/24,R-2\n" for n in range(good))
    )
    if usable:
        assert read(text, Limits(max_rejected=0.05)).rejected == bad
        return
    with pytest.raises(
        InvalidRegistry, match=f"{bad} of {bad + good} rows are bad"
    ) as error:
        read(text, Limits(max_rejected=0.05))
    assert len(error.value.problems) == 1 + bad


def test_what_is_too_large_is_refused_packed_or_not() -> None:
    text = (HEADER + "192.0.2.0/24,R-1\n" * 100).encode()
    limits = Limits(max_bytes=len(text) - 1)
    for data in (text, gzip.compress(text)):
        with pytest.raises(InvalidRegistry, match=f"more than {len(text) - 1} bytes"):
            read(data, limits)
        assert read(data, Limits(max_bytes=len(text))).rows == 100


def test_an_empty_file_is_no_registry() -> None:
    with pytest.raises(InvalidRegistry, match="line 1: is no header"):
        read("")


def test_utf_16_is_told_by_name() -> None:
    with pytest.raises(InvalidRegistry, match="is UTF-16; save it as UTF-8"):
        read(HEADER.encode("utf-16"))


def test_equal_prefixes_are_all_kept() -> None:
    registry = read(
        HEADER + "192.0.2.0/24,R-old,,,2026-01-01\n192.0.2.0/24,R-new,,2027-01-01,\n"
    ).registry
    address = parse_address("192.0.2.1")
    assert [match.id for match in registry.matches(address)] == ["R-new", "R-old"]
    for now, name in [(1.7e9, "R-old"), (1.8e9, "R-new"), (1.78e9, None)]:
        found = registry.lookup(address, now)
        assert (found.id if found else None) == name


def test_what_a_rejected_row_may_have_been_about_is_remembered() -> None:
    unread = read(HEADER + "203.0.113.0/24,R 1\n192.0.2.1/24,R-2\n").registry.unread
    assert unread.holds(parse_prefix("203.0.113.0/24"), "R-9")
    assert unread.holds(parse_prefix("203.0.113.64/26"), "R-9")
    assert not unread.holds(parse_prefix("203.0.112.0/23"), "R-9")
    assert unread.holds(parse_prefix("192.0.2.0/24"), "R-2")
    assert not unread.holds(parse_prefix("192.0.2.0/24"), "R-3")
    unread = read(HEADER + "203.0.112.0/23,R-1,?\n").registry.unread
    assert unread.holds(parse_prefix("203.0.113.0/24"), "R-9")
    assert unread.holds(parse_prefix("198.51.100.0/24"), "R-1")
    assert not unread.anyone
    assert read(HEADER + "?,?\n").registry.unread.anyone
    assert read(HEADER + '"\n').registry.unread.anyone


def test_too_many_rejected_rows_to_tell_apart_hold_everyone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(row_checks, "_MAX_UNREAD", 10)
    rows = [f"10.0.{n}.1/24,R-{n}\n" for n in range(11)]
    unread = read(HEADER + "".join(rows[:10])).registry.unread
    assert len(unread.registrations) == 10
    assert not unread.anyone
    unread = read(HEADER + "".join(rows)).registry.unread
    assert len(unread.registrations) == 10
    assert unread.anyone


def test_a_tunnel_list_too_many_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(TermsTable, "MAX_TUNNEL_LISTS", 4)
    rows = [f"10.0.{n}.0/24,R-1,t{n % 5}\n" for n in range(10)]
    loaded = read(HEADER + "".join(rows))
    assert [str(problem) for problem in loaded.problems] == [
        "line 6, tunnels: more than 4 different lists",
        "line 11, tunnels: more than 4 different lists",
    ]


def test_many_different_dates_are_all_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_checks, "_MAX_ENDINGS", 100)
    rng = random.Random(5)
    hours = [rng.randrange(10**6) for _ in range(1000)]
    rows = [
        f"10.{at >> 8}.{at & 255}.0/24,R-1,,,2{2000 + hour // 8760 - 1999:03d}-01-01"
        f"T{hour % 24:02d}:{at % 60:02d}:{at // 60 % 60:02d}Z\n"
        for at, hour in enumerate(hours)
    ]
    loaded = read(HEADER + "".join(rows))
    assert loaded.problems == ()
    entries = loaded.registry.current.ipv4
    ends = [entries.terms(row).valid_until for row in range(len(entries))]
    assert [end % 86400 for end in ends] == [
        hour % 24 * 3600 + at % 60 * 60 + at // 60 % 60 for at, hour in enumerate(hours)
    ]


def test_the_digest_is_of_the_content_and_not_of_its_packing() -> None:
    data = (HEADER + "192.0.2.0/24,R-1\n").encode()
    digests = {read(each).registry.digest for each in (data, gzip.compress(data))}
    assert len(digests) == 1
    assert read(data + b"\n").registry.digest not in digests


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_whatever_comes_is_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(InvalidRegistry):
        loaded = load(data, limits=Limits(), now=NOW)
        assert len(loaded.registry) + loaded.rejected == loaded.rows


@given(
    st.lists(st.text(alphabet='0123456789abcdef.:/,"+-TZ# R', max_size=60), max_size=8)
)
def test_whatever_rows_come_are_read_or_told(rows: list[str]) -> None:
    loaded = read(HEADER + "\n".join(rows))
    assert len(loaded.registry) + loaded.rejected == loaded.rows
    assert bool(loaded.problems) == bool(loaded.rejected)
    assert all("\n" not in str(problem) for problem in loaded.problems)


def test_tunnel_names_are_for_the_reader_and_any_goes() -> None:
    assert parse_tunnels("wireguard + my-vpn_2.0") == ("wireguard", "my-vpn_2.0")
    assert parse_tunnels("") == ()
