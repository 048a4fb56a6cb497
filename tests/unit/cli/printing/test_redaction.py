# SPDX-License-Identifier: GPL-2.0-or-later
"""What is told to strangers: nothing that the configuration names, and all the rest."""

import pytest

from vpngate.cli.printing.redaction import Redaction, instead_of


def redaction(**registry: object) -> Redaction:
    page = {"registry": registry, "gateway": {"interfaces": ["lan0", "lan1", "lan2"]}}
    return Redaction(instead_of(page, ["wireguard"]))


@pytest.mark.parametrize(
    "url",
    [
        "https://feed.corp.example:8443/registry.csv",
        "https://feed.corp.example/registry.csv?token=hunter2",
        "https://FEED.corp.example:8443/registry.csv",
    ],
)
def test_a_host_is_left_out_without_its_port_too(url: str) -> None:
    told = redaction(sources=[url])
    for host in ("feed.corp.example", url.partition("://")[2].partition(":")[0]):
        said = told(f"certificate is not valid for '{host.partition('/')[0]}'.")
        assert said == "certificate is not valid for '<registry.sources>'."


def test_what_is_no_url_has_no_host() -> None:
    assert redaction(sources=["https://[x/registry"])("x") == "x"


def test_nothing_is_lost_where_names_become_the_same() -> None:
    told = redaction().everywhere({"lan0": "why a", "lan1": "why b", "lan2": "lan0"})
    assert told == {
        "<gateway.interfaces>": "why a",
        "<gateway.interfaces> (2)": "why b",
        "<gateway.interfaces> (3)": "<gateway.interfaces>",
    }
