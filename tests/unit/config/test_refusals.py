# SPDX-License-Identifier: GPL-2.0-or-later
"""What no value may be, alone or beside another; whatever is written is answered."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.config.parsed import KEY, LEAST, parse, problem, problems
from vpngate.config import (
    Config,
)
from vpngate.errors import InvalidConfig


@pytest.mark.parametrize(
    ("section", "key", "value", "what"),
    [
        ("gateway", "interfaces", '"lan0"', "should be a list, not 'lan0'"),
        ("gateway", "interfaces", '["a/b"]', "is not an interface name"),
        ("gateway", "interfaces", '[".."]', "is not an interface name"),
        ("gateway", "interfaces", '["a b"]', "is not an interface name"),
        ("gateway", "interfaces", '["abcdefghijklmnop"]', "longer than the 15 bytes"),
        ("gateway", "interfaces", '["a", "a"]', "'a' stands there twice"),
        ("gateway", "interfaces", "[7]", "should be a valid string, not 7"),
        ("gateway", "side", '"lan"', "should be 'subscriber' or 'uplink', not 'lan'"),
        ("gateway", "nat", '"no"', "should be a valid boolean"),
        ("gateway", "mode", '"drop"', "should be 'observe' or 'enforce'"),
        ("gateway", "plane", '"xdp"', "should be 'nftables' or 'ebpf', not 'xdp'"),
        ("gateway", "enforce_share", "101", "should be less than or equal to 100"),
        ("gateway", "enforce_share", '"50%"', "should be a valid integer"),
        ("gateway", "table", '"a b"', "is not a table name"),
        ("gateway", "table", '""', "is not a table name"),
        ("gateway", "deadman", '"9s"', "is less than 10s"),
        ("gateway", "deadman", '"1h"', "is more than 10m"),
        ("gateway", "deadman", "30", "is not a number and a unit"),
        ("gateway", "hook_priority", "2147483648", "should be less than 2147483648"),
        ("capture", "nflog_group", "65536", "should be less than 65536"),
        ("capture", "packets_per_second", "0", "greater than or equal to 1"),
        ("registry", "sources", "[]", "should not be empty"),
        ("registry", "sources", '["r.csv"]', "is not an absolute path"),
        ("registry", "sources", '["http://a.example/r"]', "nor an https address"),
        ("registry", "sources", '["https://"]', "is not an address like"),
        ("registry", "sources", '["https://a:b@c.example/r"]', "holds a user name"),
        ("registry", "sources", '["https://a.example/r#1"]', "a fragment"),
        ("registry", "public_key", '"RWQ"', "is not a minisign public key"),
        ("registry", "public_key", '"!"', "is not a minisign public key"),
        ("registry", "public_key", '["RWQ"]', "is not a minisign public key"),
        ("registry", "public_key", "[1]", "should be a key, not 1"),
        ("registry", "public_key", "1", "should be a key or a list of keys, not 1"),
        ("registry", "public_key", f'["{KEY}", "{KEY}"]', "stands there twice"),
        ("registry", "refresh", '"0.5s"', "is less than 1s"),
        ("registry", "max_removed", '"200%"', "is more than 100%"),
        ("registry", "max_removed", "0.05", "is not a number and a unit (%)"),
        ("registry", "sentinels", '["192.0.2.1/24"]', "is 192.0.2.0/24 meant?"),
        ("registry", "sentinels", '["zz"]', "is not a prefix like 203.0.113.0/24"),
        ("registry", "state", '"state"', "is not an absolute path"),
        ("tunnels", "enabled", "[]", "should not be empty"),
        ("tunnels", "enabled", '["tor"]', "is not one of ipsec, l2tp, openvpn, pptp, "),
        ("tunnels", "confirm", '"maybe"', "should be 'both-ways' or 'one-way'"),
        ("throttle", "rate", '"511kbit"', "is less than 512kbit, the least allowed"),
        ("throttle", "rate", '"0"', "is not a number and a unit"),
        ("throttle", "rate", '"5000gbit"', "is more than 1000gbit"),
        ("throttle", "max_flows", "0", "greater than or equal to 1"),
        ("protect", "prefixes", '["10.0.0.0/33"]', "is not a prefix"),
        ("http", "listen", '"9753"', "is not an address and a port"),
        ("http", "listen", '"localhost:9753"', "is not an address and a port"),
        ("http", "listen", '"::1:9753"', "is not an address and a port"),
        ("http", "listen", '"[127.0.0.1]:1"', "is not an address and a port"),
        ("http", "listen", '"127.0.0.1:0"', "is not an address and a port"),
        ("http", "listen", '"127.0.0.1:65536"', "is not an address and a port"),
        ("http", "metrics_listen", '"9753"', "is not an address and a port"),
        ("http", "metrics_listen", '"127.0.0.1:9753"', "choose another port"),
        ("http", "names", '["gw:9753"]', "is not a name like gateway.example.net"),
        ("http", "names", '["http://gw"]', "is not a name like gateway.example.net"),
        ("http", "names", '[""]', "is not a name like gateway.example.net"),
        ("http", "names", '["a..b"]', "is not a name like gateway.example.net"),
        ("http", "names", '"gw"', "should be a list"),
        ("http", "registration_url", '"ftp://a.example"', "is not an address like"),
        ("http", "registration_url", '"https://a.example/ b"', "is not an address"),
        ("http", "registration_url", '"https://[::1"', "is not an address like"),
        ("http", "trusted_proxies", '["0.0.0.0/0"]', "trusts more than proxies"),
        ("http", "trusted_proxies", '["192.0.2.1", "192.0.2.0/23"]', "trusts more"),
        ("http", "trusted_proxies", '["2001:db8::/63"]', "nothing wider than a /24"),
        ("http", "trusted_proxies", '["zz"]', "is not a prefix like 203.0.113.0/24"),
        ("http", "contact", '"a\\nb"', "is not one line of text"),
        ("log", "format", '"xml"', "should be 'text' or 'json'"),
    ],
)
def test_bad_values(section: str, key: str, value: str, what: str) -> None:
    assert what in problem(section, key, value)


@pytest.mark.parametrize("action", ["drop", "block", "policy", "action", "reject"])
def test_there_is_no_key_that_blocks(action: str) -> None:
    (line,) = problems(LEAST + f"[throttle]\n{action} = true")
    assert "there is no such key" in line


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ('mode = "enforce"\n[capture]\nsource = "mirror"', "gateway.mode"),
        ('mode = "enforce"\nside = "uplink"', "gateway.mode"),
        ('mode = "enforce"\nside = "uplink"\nnat = true', "gateway.mode"),
        ('[registry]\nsources = ["https://a.example/r"]', "registry.public_key"),
        (
            f'[registry]\npublic_key = "{KEY}"\nallow_unsigned = true',
            "registry.allow_unsigned",
        ),
    ],
)
def test_contradictions(text: str, where: str) -> None:
    (line,) = problems(LEAST + text)
    assert line.startswith(f"{where}: ")
    assert ";" in line, "says what to do"


@pytest.mark.parametrize(
    "text",
    [
        '[capture]\nsource = "mirror"',
        'side = "uplink"',
        'mode = "enforce"\nside = "uplink"\nnat = false',
        '[registry]\nsources = ["https://a.example/r"]\nallow_unsigned = true',
        f'[registry]\nsources = ["https://a.example/r"]\npublic_key = "{KEY}"',
    ],
)
def test_their_sound_neighbours(text: str) -> None:
    parse(LEAST + text)


def test_a_rule_is_silent_where_its_keys_are_at_fault() -> None:
    lines = problems(LEAST + 'mode = "enforce"\nside = "uplink"\nnat = "no"')
    assert lines == ["gateway.nat: should be a valid boolean, not 'no'"]


@pytest.mark.parametrize(
    ("key", "place"),
    [
        (r'"a\nb"', r"'a\nb'"),
        (r'"\u001e"', r"'\x1e'"),
        (r'"\u001b[31m"', r"'\x1b[31m'"),
        ('"a.b"', "'a.b'"),
        ('""', "''"),
        ("a-b", "a-b"),
    ],
)
def test_an_odd_key_is_told_in_one_line(key: str, place: str) -> None:
    (line,) = problems(LEAST + f"{key} = 1")
    assert line.startswith(f"gateway.{place}: there is no such key")


@given(st.text())
def test_any_text_is_a_configuration_or_a_clear_no(text: str) -> None:
    assert all(line.startswith("f.toml: ") for line in _no(text))


_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.dates()
    | st.sampled_from(["1", "5mbit", "0x1", "https://", "[::1]:1", "10.0.0.0/8"])
)

_VALUES = _SCALARS | st.lists(_SCALARS) | st.dictionaries(st.text(), _SCALARS)


@given(st.data())
def test_any_value_at_any_key_is_taken_or_a_clear_no(data: st.DataObject) -> None:
    section = data.draw(st.sampled_from(sorted(Config.model_fields)))
    model: Any = Config.model_fields[section].annotation
    key = data.draw(st.sampled_from(sorted(model.model_fields)))
    value = data.draw(_VALUES)
    document = f"[{section}]\n{key} = {_toml(value)}\n"
    assert all(line.startswith("f.toml: ") for line in _no(document))


def _no(text: str) -> list[str]:
    try:
        parse(text)
    except InvalidConfig as no:
        return no.lines
    return []


def _toml(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case str():
            escaped = "".join(
                f"\\U{ord(c):08X}" if c in '"\\\x7f' or ord(c) < 32 else c
                for c in value
                if not 0xD800 <= ord(c) < 0xE000
            )
            return f'"{escaped}"'
        case list():
            return "[" + ", ".join(map(_toml, value)) + "]"
        case dict():
            pairs = (f"{_toml(str(k))} = {_toml(v)}" for k, v in value.items())
            return "{" + ", ".join(pairs) + "}"
        case None:
            return '""'
        case _:
            return str(value)
