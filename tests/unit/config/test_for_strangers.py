# SPDX-License-Identifier: GPL-2.0-or-later
"""A stranger is told numbers and vpngate's own words, and how much else there is."""

import pytest

from tests.unit.config.parsed import parse
from vpngate.config import own_words, without_names

SECRETS = (
    '[gateway]\ninterfaces = ["lan-of-smith", "lan1"]\nmode = "enforce"\n'
    '[throttle]\nrate = "2mbit"\n'
    '[registry]\nsources = ["/srv/smith/registry.csv"]\nallow_unsigned = true\n'
    '[tunnels]\nenabled = ["wireguard", "openvpn"]\n'
)


@pytest.mark.parametrize(
    "line",
    [
        "gateway.interfaces = (2 given)",
        "gateway.mode = enforce",
        "throttle.rate = 2000000",
        "registry.sources = (1 given)",
        "registry.allow_unsigned = True",
        "registry.state = (default)",
        "tunnels.enabled = openvpn, wireguard",
    ],
)
def test_what_a_key_is_told_as(line: str) -> None:
    assert line in told(("wireguard", "openvpn"))


def test_a_word_that_nobody_knows_may_be_a_name() -> None:
    lines = told(("wireguard",))
    assert "tunnels.enabled = (2 given)" in lines
    assert "smith" not in "\n".join(lines)


def test_keys_and_the_values_of_enumerations_are_our_own() -> None:
    assert {"off", "interfaces", "enforce", "mirror"} <= own_words()


def told(tunnels: tuple[str, ...]) -> list[str]:
    return list(without_names(parse(SECRETS), tunnels))
