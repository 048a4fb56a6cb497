# SPDX-License-Identifier: GPL-2.0-or-later
"""What a reload would change, and whether it may."""

import pytest

from vpngate.config import (
    Config,
    Reload,
    changes,
    parse_config,
    with_less,
    without_more,
)
from vpngate.config.changes import COLD

LEAST = '[gateway]\ninterfaces = ["lan0"]\n'


def parse(text: str = "") -> Config:
    return parse_config(LEAST + text, where="f.toml", known_tunnels=("wireguard",))


def test_nothing_changed() -> None:
    none = changes(parse(), parse())
    assert (none.reload, none.keys, none.problems("f.toml")) == (Reload.NOTHING, (), ())


def test_spelling_is_no_change() -> None:
    spelled = parse('[registry]\nrefresh = "60m"\n[throttle]\nrate = "5000kbit"')
    assert changes(parse(), spelled).reload is Reload.NOTHING


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('mode = "enforce"', "gateway.mode"),
        ("enforce_share = 5", "gateway.enforce_share"),
        ('deadman = "1m"', "gateway.deadman"),
        ("[capture]\npackets_per_second = 5", "capture.packets_per_second"),
        ('[registry]\nsources = ["/other.csv"]', "registry.sources"),
        ('[tunnels]\nconfirm = "one-way"', "tunnels.confirm"),
        ('[throttle]\nrate = "1mbit"', "throttle.rate"),
        ('[protect]\nprefixes = ["192.0.2.0/24"]', "protect.prefixes"),
        ('[http]\ncontact = "noc"', "http.contact"),
        ('[http]\nnames = ["gw.example"]', "http.names"),
        ('[log]\nlevel = "debug"', "log.level"),
    ],
)
def test_warm(text: str, key: str) -> None:
    found = changes(parse(), parse(text))
    assert (found.reload, found.keys) == (Reload.WARM, (key,))
    assert found.problems("f.toml") == ()


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('side = "uplink"', "gateway.side"),
        ('table = "other"', "gateway.table"),
        ("hook_priority = 1", "gateway.hook_priority"),
        ('[capture]\nsource = "mirror"', "capture.source"),
        ("[capture]\nnflog_group = 1", "capture.nflog_group"),
        ('[registry]\nstate = "/s"', "registry.state"),
        ("[throttle.subscriber_prefix]\nipv6 = 56", "throttle.subscriber_prefix"),
        ("[throttle]\nmax_flows = 5", "throttle.max_flows"),
        ('[http]\nlisten = "127.0.0.1:1"', "http.listen"),
        ('[http]\nmetrics_listen = "127.0.0.1:1"', "http.metrics_listen"),
    ],
)
def test_cold(text: str, key: str) -> None:
    found = changes(parse(), parse(text))
    assert (found.reload, found.keys) == (Reload.COLD, (key,))
    (problem,) = found.problems("f.toml")
    assert str(problem) == (
        f"f.toml: {key}: cannot change live ({COLD[key]}); restart vpngate, or put"
        " the old value back; nothing was changed"
    )


def test_one_cold_key_among_warm_ones_is_cold() -> None:
    text = '[capture]\nnflog_group = 1\n[throttle]\nrate = "1mbit"\nmax_flows = 5'
    found = changes(parse(), parse(text))
    assert found.reload is Reload.COLD
    assert found.keys == (
        "capture.nflog_group",
        "throttle.rate",
        "throttle.max_flows",
    )
    assert len(found.problems("f.toml")) == 2


def test_every_cold_key_exists() -> None:
    for key in COLD:
        section, _, name = key.partition(".")
        assert name in type(getattr(parse(), section)).model_fields


ENFORCING = 'mode = "enforce"\n'
FIRST = '[protect]\nprefixes = ["192.0.2.0/24"]\n'
SECOND = '[protect]\nprefixes = ["198.51.100.0/24"]\n'
RATE = '[throttle]\nrate = "1mbit"\n'


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("", ""),
        ("", ENFORCING),
        (ENFORCING, RATE + FIRST),
        (ENFORCING + "enforce_share = 5", ENFORCING + SECOND),
        (ENFORCING + FIRST, ENFORCING + "enforce_share = 5\n" + SECOND),
    ],
)
def test_between_two_configurations_nobody_is_slowed_whom_either_protects(
    old: str, new: str
) -> None:
    before, after = parse(old), parse(new)
    early, late = with_less(before, after), without_more(before, after)
    assert early.gateway == before.gateway
    assert late.gateway == after.gateway
    for one in (early, late):
        everybody = {*before.protect.prefixes, *after.protect.prefixes}
        assert set(one.protect.prefixes) == everybody
    assert early.throttle == before.throttle
    assert late.throttle == after.throttle


def test_what_slows_no_less_leaves_the_old_one_as_it_is() -> None:
    old = parse(FIRST)
    assert with_less(old, parse(ENFORCING + RATE + FIRST)) is old
    assert with_less(old, old) is old
