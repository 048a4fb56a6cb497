# SPDX-License-Identifier: GPL-2.0-or-later
"""From text to configuration: defaults, every key, every problem at once."""

import tomllib
from typing import Any

import pytest
from netaddr import IPNetwork

from tests.house import ROOT
from tests.unit.config.parsed import KEY, LEAST, TUNNELS, parse, problem, problems
from vpngate.config import (
    CaptureSource,
    Config,
    Confirm,
    LogFormat,
    LogLevel,
    Mode,
    Plane,
    ReversePath,
    Side,
    examine_config,
)
from vpngate.packets import Family


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
        plane = "nftables"
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
    assert gateway.plane is Plane.NFTABLES
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


def test_examining_goes_on_with_what_is_sound() -> None:
    text = '[gateway]\nmodee = 1\n[registry]\nsources = ["/r.csv"]\n[log]\nlevel = 1'
    found = examine_config(text, where="f.toml", known_tunnels=TUNNELS)
    assert len(found.problems) == 3
    assert found.faulty == {"gateway", "log"}
    assert found.config is not None
    assert found.config.registry.sources == ("/r.csv",)
    assert examine_config("[", where="f.toml", known_tunnels=TUNNELS).config is None


def test_several_public_keys_while_a_publisher_moves() -> None:
    head = '[gateway]\ninterfaces = ["lan0"]\n[registry]\npublic_key = '
    other = KEY.replace("AAAA", "BBBB")
    assert parse(f'{head}["{KEY}", "{other}"]').registry.public_key == (KEY, other)
    assert parse(f"{head}[]").registry.public_key == ()
