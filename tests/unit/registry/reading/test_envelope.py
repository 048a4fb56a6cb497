# SPDX-License-Identifier: GPL-2.0-or-later
"""Registries as JSON."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpngate.errors import InvalidRegistry
from vpngate.packets import parse_address
from vpngate.plaintext import plain
from vpngate.prefixes.prefix import parse_prefix
from vpngate.registry import Limits, Loaded, load
from vpngate.registry.reading import jsontext

ITEM = {"prefix": "203.0.113.0/24", "registration": "R-1001"}
WHOLE = {
    "registry": "example",
    "serial": 42,
    "generated": "2026-01-01T00:00:00Z",
    "expires": "2027-01-01",
    "sentinels": ["203.0.113.0/24"],
    "suspend": "a mistake in R-2",
    "registrations": [
        ITEM
        | {
            "tunnels": ["wireguard", "openvpn"],
            "valid_from": "2026-01-01T00:00:00+00:00",
            "valid_until": "2027-01-01T00:00:00Z",
        },
        {"prefix": "2001:db8::/32", "registration": "R-2", "valid_until": None},
    ],
}


def read(content: Any, share: float = 1.0) -> Loaded:
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    return load(data, limits=Limits(max_rejected=share), now=0.0)


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_an_envelope_is_read(indent: int | None, encoding: str) -> None:
    loaded = read(json.dumps(WHOLE, indent=indent).encode(encoding))
    registry = loaded.registry
    assert loaded.problems == ()
    assert loaded.rows == 2
    assert registry.name == "example"
    assert registry.serial == 42
    assert registry.generated == 1767225600
    assert registry.expires == 1798761600
    assert registry.sentinels == ("203.0.113.0/24",)
    assert registry.suspend == "a mistake in R-2"
    found = registry.lookup(parse_address("203.0.113.1"), 1.78e9)
    assert found is not None
    assert (found.id, found.tunnels) == ("R-1001", ("wireguard", "openvpn"))
    assert (found.valid_from, found.valid_until) == (1767225600, 1798761600)
    found = registry.lookup(parse_address("2001:db8::1"), 0.0)
    assert found is not None
    assert (found.valid_from, found.valid_until, found.stands_until) == (None,) * 3


def test_the_list_alone_is_enough_and_may_be_empty() -> None:
    registry = read({"registrations": []}).registry
    assert len(registry) == 0
    assert registry.serial is None
    assert registry.suspend == ""
    assert read({"suspend": None, "registrations": [ITEM]}).registry.suspend == ""
    assert read({"serial": None, "registrations": [ITEM]}).registry.serial is None


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"serial": "42"}, "serial: is not a whole number from 0"),
        ({"serial": -1}, "serial: is not a whole number from 0"),
        ({"serial": True}, "serial: is not a whole number from 0"),
        ({"serial": 1.0}, "serial: is not a whole number from 0"),
        ({"registry": 1}, "registry: is not a text"),
        ({"generated": "yesterday"}, "generated: is not a date like"),
        ({"expires": 1798761600}, "expires: is not a date like"),
        ({"sentinels": ["203.0.113.1/24"]}, "sentinels: is not a list of prefixes"),
        ({"sentinels": "203.0.113.0/24"}, "sentinels: is not a list of prefixes"),
        ({"suspend": True}, "suspend: is not a reason on one line"),
        ({"suspend": ["why"]}, "suspend: is not a reason on one line"),
        ({"suspend": ""}, "suspend: is not a reason on one line"),
        ({"suspend": " \u3000"}, "suspend: is not a reason on one line"),
        ({"suspend": "one\ntwo"}, "suspend: is not a reason on one line"),
        ({"suspend": "\x1b[2J"}, "suspend: is not a reason on one line"),
        ({"suspend": "\u202egnorw"}, "suspend: is not a reason on one line"),
        ({"suspend": "\ud800"}, "suspend: is not a reason on one line"),
        ({"suspend": "x" * 257}, "suspend: is not a reason on one line"),
        ({"sentinals": []}, "'sentinals': is not known; known: registry, serial"),
        ({"registrations": {}}, "registrations: is not a list"),
        ({"registrations": None}, "registrations: is not a list"),
    ],
)
def test_a_wrong_envelope_is_refused(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidRegistry) as error:
        read(WHOLE | change)
    assert problem in str(error.value)
    assert len(error.value.problems) == 1


def test_a_reason_to_suspend_is_a_line_as_it_is_shown() -> None:
    for why in ("x" * 256, "Störung: bitte warten", "  blanks around  "):
        registry = read(WHOLE | {"suspend": why}).registry
        assert registry.suspend == why.strip() == plain(registry.suspend)


def test_a_key_that_is_missing_or_there_twice_is_told() -> None:
    with pytest.raises(InvalidRegistry, match="registrations: is missing"):
        read({"serial": 1})
    with pytest.raises(InvalidRegistry, match="'serial': is there 2 times"):
        read(b'{"serial": 1, "registrations": [], "serial": 2}')


@pytest.mark.parametrize(
    ("item", "problem"),
    [
        (3, "registrations[1]: is not an object"),
        (None, "registrations[1]: is not an object"),
        ({"prefix": "203.0.113.0/24"}, "registrations[1], registration: is missing"),
        ({"registration": "R-1"}, "registrations[1], prefix: is missing"),
        (ITEM | {"prefix": 3}, "registrations[1], prefix: is not a text"),
        (ITEM | {"name": "Alice"}, "registrations[1], name: is not known"),
        (ITEM | {"a\nb": 1}, r"registrations[1], 'a\nb': is not known"),
        (ITEM | {"\ud800": 1}, r"registrations[1], '\ud800': is not known"),
        (ITEM | {"tunnels": "wireguard"}, "tunnels: is not a list of texts"),
        (ITEM | {"tunnels": ""}, "tunnels: is not a list of texts"),
        (ITEM | {"tunnels": [1]}, "tunnels: is not a list of texts"),
        (ITEM | {"tunnels": ["a b"]}, "tunnels: 'a b' is not a tunnel's name"),
        (ITEM | {"valid_until": 3}, "valid_until: is not a text"),
        (ITEM | {"valid_until": "soon"}, "valid_until: 'soon' is not a date"),
        (ITEM | {"prefix": "203.0.113.1/24"}, "prefix: '203.0.113.1/24' has host bits"),
    ],
)
def test_a_bad_item_says_where_and_why_and_costs_nobody_else(
    item: Any, problem: str
) -> None:
    loaded = read({"registrations": [ITEM, item, ITEM | {"prefix": "192.0.2.0/24"}]})
    (told,) = loaded.problems
    assert problem in str(told)
    assert (loaded.rejected, loaded.rows, len(loaded.registry)) == (1, 3, 2)


def test_a_rejected_item_holds_whom_it_names() -> None:
    items = [ITEM | {"name": "Alice"}, {"registration": "R-2", "prefix": 3}]
    unread = read({"registrations": items}).registry.unread
    assert unread.prefixes == {parse_prefix("203.0.113.0/24")}
    assert unread.registrations == {"R-1001", "R-2"}
    assert not unread.anyone
    assert read({"registrations": [7]}).registry.unread.anyone


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b'{"registrations": [', "line 1: not JSON: Expecting value"),
        (b'{\n"registrations":\n[}', "line 3: not JSON: Expecting value"),
        (b'{"registrations": [{}', "not JSON: ']' is missing"),
        (b'{"registrations" []}', "not JSON: ':' is missing"),
        (b'{"registrations": []', "not JSON: '}' is missing"),
        (b'{"registrations": []} {}', "not JSON: something follows its end"),
        (b'{"registrations": [],}', "not JSON: Expecting value"),
        (b"{3: 4}", "not JSON: a key is not a text"),
        (b"[1, 2]", "not JSON: '{' is missing"),
        (b'{"serial": ' + b"[" * 10**6, "not JSON: "),
        (b'{"serial": ' + b"9" * 10**6 + b"}", "not JSON: "),
        (b'{"registry": "\xff"}', "byte 14: is not UTF-8"),
    ],
)
def test_what_is_no_json_is_refused_with_its_place(text: bytes, problem: str) -> None:
    with pytest.raises(InvalidRegistry) as error:
        read(text)
    assert problem in str(error.value)
    assert len(str(error.value)) < 500


def test_every_truncation_is_refused() -> None:
    data = json.dumps(WHOLE, indent=1).encode()
    for length in range(len(data)):
        with pytest.raises(InvalidRegistry):
            read(data[:length])


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9) | st.floats(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from([*WHOLE, "prefix", "registration", "tunnels", "x"]), inner
        )
    ),
    max_leaves=12,
)


@pytest.mark.slow
@given(st.dictionaries(st.sampled_from([*WHOLE, "x"]), JSON_VALUES), st.data())
def test_whatever_json_comes_is_read_or_refused(
    content: dict[str, Any], data: st.DataObject
) -> None:
    content["registrations"] = data.draw(st.lists(JSON_VALUES, max_size=5))
    try:
        loaded = read(content)
    except InvalidRegistry as error:
        told = error.lines
    else:
        told = [str(problem) for problem in loaded.problems]
        assert len(loaded.registry) + loaded.rejected == loaded.rows
    assert all(told)


@pytest.mark.parametrize("window", [1, 2, 3, 7, 64])
def test_however_little_of_it_is_seen_at_once_the_same_is_read(
    window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = WHOLE | {
        "registry": "b\u00fccher \U0001d11e",
        "serial": 2**53 - 1,
        "registrations": [ITEM | {"prefix": f"10.0.{n}.0/24"} for n in range(9)]
        + [ITEM | {"name": [1.25e-3, {"a": "]}"}]}, -12, ITEM],
    }
    for indent in (None, 1):
        data = json.dumps(content, indent=indent, ensure_ascii=False).encode()
        whole = read(data)
        with monkeypatch.context() as narrow:
            narrow.setattr(jsontext, "_WINDOW", window)
            piecemeal = read(data)
        assert piecemeal.problems == whole.problems
        assert piecemeal.rows == whole.rows == 12
        for field in ("name", "serial", "sentinels", "prefixes", "unread", "digest"):
            assert getattr(piecemeal.registry, field) == getattr(whole.registry, field)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (b'{"serial":\n 1,\n"registrations": [\n{},\n {]}', "line 5: not JSON"),
        (b'{"serial":\n 1,\n"registrations": [\n\n\n', "line 6: not JSON"),
        (b'{"registry": "' + b"a" * 99 + b'\xe2\x82"}', "byte 113: is not UTF-8"),
        (b'\xef\xbb\xbf{"registry": "\xff"}', "byte 17: is not UTF-8"),
        (b'{"registry": "\xf0\x9d', "byte 14: is not UTF-8"),
    ],
)
@pytest.mark.parametrize("window", [1, 2, 7, 2**20])
def test_a_fault_has_its_place_however_little_is_seen_at_once(
    text: bytes, place: str, window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jsontext, "_WINDOW", window)
    with pytest.raises(InvalidRegistry, match=place):
        read(text)


def test_every_item_that_is_refused_has_a_reason() -> None:
    contents: list[Any] = [
        None,
        True,
        0,
        1.5,
        "",
        "a",
        [],
        [1],
        ["a", None],
        {},
        {"a": 1},
    ]
    items = [
        ITEM | {key: content} for key in (*ITEM, "tunnels") for content in contents
    ]
    loaded = read({"registrations": items})
    assert loaded.rejected
    assert len(loaded.problems) == min(20, loaded.rejected)
