# SPDX-License-Identifier: GPL-2.0-or-later
"""From text to configuration: defaults, every key, every problem at once."""

import base64
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from netaddr import IPNetwork

from tests.house import ROOT
from vpngate.config import (
    CaptureSource,
    Config,
    Confirm,
    LogFormat,
    LogLevel,
    Mode,
    ReversePath,
    Side,
    examine_config,
    parse_config,
)
from vpngate.errors import InvalidConfig
from vpngate.packets import Family
from vpngate.tunnels import all_tunnels

TUNNELS = tuple(tunnel.name for tunnel in all_tunnels())
KEY = base64.b64encode(b"Ed" + bytes(40)).decode()
LEAST = '[gateway]\ninterfaces = ["lan0"]\n'


def parse(text: str) -> Config:
    return parse_config(text, where="f.toml", known_tunnels=TUNNELS)


def problems(text: str) -> list[str]:
    with pytest.raises(InvalidConfig) as caught:
        parse(text)
    return [line.removeprefix("f.toml: ") for line in caught.value.lines]


def problem(section: str, key: str, value: str) -> str:
    """The one problem with a value of a key, in an otherwise sound file."""
    text = LEAST if section == "gateway" else LEAST + f"[{section}]\n"
    if key == "interfaces":
        text = "[gateway]\n"
    (line,) = problems(f"{text}{key} = {value}\n")
    where, _, what = line.partition(": ")
    assert where.startswith(f"{section}.{key}")
    return what


def test_every_key_has_the_default_that_the_shipped_file_shows() -> None:
    shipped = parse((ROOT / "config" / "vpngate.toml").read_text())
    assert parse(LEAST) == shipped


def test_the_shipped_file_shows_every_key() -> None:
    text = (ROOT / "config" / "vpngate.toml").read_text()
    shown = tomllib.loads(text.replace("# nat =", "nat ="))
    declared = {
        name: set(section.annotation.model_fields)  # type: ignore[union-attr]
        for name, section in Config.model_fields.items()
    }
    declared["gateway"] -= {"mark"}  # outdated
    assert {name: set(keys) for name, keys in shown.items()} == declared


@pytest.mark.parametrize("mark", ['"0x40000000"', "3", '"any"'])
def test_the_mark_of_earlier_versions_is_read_and_told_to_do_nothing(mark: str) -> None:
    config = parse(f'[gateway]\ninterfaces = ["lan0"]\nmark = {mark}\n')
    [line] = config.outdated
    assert line.startswith("gateway.mark: ")
    assert parse(LEAST).outdated == ()


def test_all_known_tunnels_are_enabled_unless_told_otherwise() -> None:
    assert parse(LEAST).tunnels.enabled == tuple(sorted(TUNNELS))
    config = parse(LEAST + '[tunnels]\nenabled = ["pptp", "l2tp"]')
    assert config.tunnels.enabled == ("l2tp", "pptp")


def test_values_are_read_into_what_they_mean() -> None:
    config = parse(
        f"""
        [gateway]
        interfaces = ["lan0", "ppp*"]
        side = "uplink"
        nat = false
        accept_skipped_filters = true
        mode = "enforce"
        enforce_share = 5
        table = "slow_1"
        deadman = "1m"
        reverse_path = "hooks"
        hook_priority = -5
        [capture]
        nflog_group = 7
        packets_per_second = 1
        [registry]
        sources = ["https://a.example/r.csv?x=1", "/r.csv"]
        public_key = "{KEY}"
        refresh = "10m"
        min_prefix_length = {{ ipv4 = 16 }}
        max_removed = "1%"
        max_rejected = "0%"
        sentinels = ["192.0.2.0/24"]
        removal_grace = "7d"
        state = "/s"
        [tunnels]
        enabled = ["pptp", "l2tp"]
        [throttle]
        rate = "512kbit"
        subscriber_prefix = {{ ipv6 = 56 }}
        max_flows = 10
        [protect]
        prefixes = ["2001:DB8::/32", "198.51.100.7"]
        [http]
        listen = "[::1]:80"
        metrics_listen = "192.0.2.1:9753"
        names = ["GW.a.example.", "gw"]
        registration_url = "https://a.example/register"
        contact = "noc@a.example"
        trusted_proxies = ["127.0.0.1"]
        [log]
        level = "debug"
        format = "json"
        """
    )
    gateway, registry = config.gateway, config.registry
    assert gateway.interfaces == ("lan0", "ppp*")
    assert (gateway.side, gateway.nat, gateway.mode) == (
        Side.UPLINK,
        False,
        Mode.ENFORCE,
    )
    assert (gateway.deadman, gateway.hook_priority) == (60.0, -5)
    assert gateway.accept_skipped_filters
    assert config.outdated == ()
    assert (gateway.enforce_share, gateway.table) == (5, "slow_1")
    assert config.capture.source is CaptureSource.NFLOG
    assert (config.capture.nflog_group, config.capture.packets_per_second) == (7, 1)
    assert registry.sources == ("https://a.example/r.csv?x=1", "/r.csv")
    assert (registry.public_key, registry.refresh) == ((KEY,), 600.0)
    assert (registry.max_removed, registry.max_rejected) == (0.01, 0.0)
    assert registry.min_prefix_length.of(Family.IPV4) == 16
    assert registry.min_prefix_length.of(Family.IPV6) == 19
    assert registry.sentinels == (IPNetwork("192.0.2.0/24"),)
    assert (registry.removal_grace, registry.state) == (604_800.0, "/s")
    assert config.tunnels.enabled == ("l2tp", "pptp")
    assert gateway.reverse_path is ReversePath.HOOKS
    assert (config.throttle.rate, config.throttle.max_flows) == (512_000, 10)
    assert config.throttle.subscriber_prefix.of(Family.IPV4) == 32
    assert config.throttle.subscriber_prefix.of(Family.IPV6) == 56
    assert list(map(str, config.protect.prefixes)) == [
        "2001:db8::/32",
        "198.51.100.7/32",
    ]
    assert config.http.listen == ("::1", 80)
    assert str(config.http.listen) == "[::1]:80"
    assert config.http.metrics_listen == ("192.0.2.1", 9753)
    assert config.http.names == ("gw.a.example", "gw")
    assert config.http.contact == "noc@a.example"
    assert (config.log.level, config.log.format) == (LogLevel.DEBUG, LogFormat.JSON)


def test_one_way_is_read_too() -> None:
    config = parse(LEAST + '[tunnels]\nconfirm = "one-way"\n')
    assert config.tunnels.confirm is Confirm.ONE_WAY


def test_a_configuration_cannot_be_changed() -> None:
    config: Any = parse(LEAST)
    with pytest.raises(ValueError, match="frozen"):
        config.throttle.rate = 1


def test_text_that_is_not_toml_says_where() -> None:
    (line,) = problems("[gateway]\ninterfaces = [lan0]\n")
    assert line == "not TOML: Invalid value (at line 2, column 15)"


@pytest.mark.parametrize("value", ["[" * 10_000, "9" * 5_000])
def test_what_toml_cannot_hold_is_not_toml_either(value: str) -> None:
    (line,) = problems(f"[gateway]\nfwmark_bit = {value}\n")
    assert line.startswith("not TOML: ")


def test_all_problems_are_told_at_once() -> None:
    lines = problems(
        """
        typo = 1
        [gateway]
        side = "uplink"
        mode = "enforce"
        nta = true
        [capture]
        source = "mirror"
        [registry]
        sources = ["https://a.example/r.csv", "r.csv"]
        max_removed = 5
        [throttle]
        rate = "100kbit"
        [log]
        level = "loud"
        """
    )
    assert [line.partition(": ")[0] for line in lines] == [
        "gateway.interfaces",
        "gateway.nta",
        "registry.sources[1]",
        "registry.max_removed",
        "throttle.rate",
        "log.level",
        "typo",
        "gateway.mode",
        "gateway.mode",
    ]
    assert lines[1] == "gateway.nta: there is no such key; is 'nat' meant?"
    assert lines[6].startswith("typo: there is no such key; there are gateway, ")


def test_sections_have_to_be_tables() -> None:
    assert problems('gateway = 3\ntunnels = "all"') == [
        "gateway: should be a table, not 3",
        "tunnels: should be a table, not 'all'",
    ]
    assert problems(LEAST + "[registry.min_prefix_length]\nip_v4 = 3") == [
        "registry.min_prefix_length.ip_v4: there is no such key; is 'ipv4' meant?"
    ]


def test_a_missing_interface_list_is_the_only_thing_without_default() -> None:
    assert problems("") == ["gateway.interfaces: is missing; it has no default"]
    assert problem("gateway", "interfaces", "[]") == "should not be empty"


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


def test_examining_goes_on_with_what_is_sound() -> None:
    text = '[gateway]\nmodee = 1\n[registry]\nsources = ["/r.csv"]\n[log]\nlevel = 1'
    found = examine_config(text, where="f.toml", known_tunnels=TUNNELS)
    assert len(found.problems) == 3
    assert found.faulty == {"gateway", "log"}
    assert found.config is not None
    assert found.config.registry.sources == ("/r.csv",)
    assert examine_config("[", where="f.toml", known_tunnels=TUNNELS).config is None


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


def test_several_public_keys_while_a_publisher_moves() -> None:
    head = '[gateway]\ninterfaces = ["lan0"]\n[registry]\npublic_key = '
    other = KEY.replace("AAAA", "BBBB")
    assert parse(f'{head}["{KEY}", "{other}"]').registry.public_key == (KEY, other)
    assert parse(f"{head}[]").registry.public_key == ()
