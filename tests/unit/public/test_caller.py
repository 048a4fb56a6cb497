# SPDX-License-Identifier: GPL-2.0-or-later
"""Who asks is told by the connection, and only by trusted proxies about others."""

import pytest
from netaddr import IPNetwork

from vpngate.packets import format_address, parse_address
from vpngate.public.caller import caller_of, could_be_anybody

TRUSTED = [IPNetwork("192.0.2.0/28"), IPNetwork("2001:db8:f::/64"), IPNetwork("::1")]
PROXY, OTHER = "192.0.2.1", "192.0.2.9"
CLIENT = "198.51.100.7"


def caller(peer: str, **headers: str) -> str | None:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    found = caller_of(peer, named, TRUSTED)
    return None if found is None else format_address(found)


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        (CLIENT, CLIENT),
        ("2001:db8::7", "2001:db8::7"),
        ("::ffff:198.51.100.7", CLIENT),
        ("fe80::1%lan0", "fe80::1"),
        ("127.0.0.1", "127.0.0.1"),
    ],
)
def test_a_caller_is_whoever_has_connected(peer: str, address: str) -> None:
    assert caller(peer) == address


@pytest.mark.parametrize("peer", [CLIENT, "2001:db8::7", "127.0.0.1", "192.0.2.16"])
def test_what_a_stranger_forges_is_not_looked_at(peer: str) -> None:
    said = caller(peer, x_forwarded_for="203.0.113.10", forwarded="for=203.0.113.10")
    assert said == peer


@pytest.mark.parametrize(
    ("field", "address"),
    [
        (CLIENT, CLIENT),
        (f"{CLIENT}:4711", CLIENT),
        (f" {CLIENT} ", CLIENT),
        ("2001:db8::7", "2001:db8::7"),
        ("[2001:db8::7]", "2001:db8::7"),
        ("[2001:db8::7]:4711", "2001:db8::7"),
        ("::ffff:198.51.100.7", CLIENT),
        # What the client wrote itself stands further left.
        (f"203.0.113.10, {CLIENT}", CLIENT),
        (f"203.0.113.10, {CLIENT}, {OTHER}", CLIENT),
        (f"{OTHER}, {CLIENT}", CLIENT),
    ],
)
def test_a_trusted_proxy_says_on_whose_behalf(field: str, address: str) -> None:
    assert caller(PROXY, x_forwarded_for=field) == address
    assert caller("2001:db8:f::1", x_forwarded_for=field) == address
    assert caller("::ffff:192.0.2.1", x_forwarded_for=field) == address


@pytest.mark.parametrize(
    ("field", "address"),
    [
        (f"for={CLIENT}", CLIENT),
        (f'for="{CLIENT}:4711"', CLIENT),
        ('For="[2001:db8::7]:4711"', "2001:db8::7"),
        (f"proto=https;for={CLIENT};by=192.0.2.1", CLIENT),
        (f"for=203.0.113.10, for={CLIENT}", CLIENT),
        (f'for=203.0.113.10;by="a,b;c", for={CLIENT} , for={OTHER}', CLIENT),
        (r'for="198\.51.100.7"', CLIENT),
    ],
)
def test_so_does_one_that_speaks_rfc_7239(field: str, address: str) -> None:
    assert caller(PROXY, forwarded=field) == address


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x_forwarded_for": ""},
        {"x_forwarded_for": "unknown"},
        {"x_forwarded_for": f"{CLIENT}, unknown"},
        {"x_forwarded_for": f"{CLIENT}, "},
        {"x_forwarded_for": f"{CLIENT}, _hidden, {OTHER}"},
        {"x_forwarded_for": "client.example.net"},
        {"x_forwarded_for": "203.0.113.1.2"},
        # All are proxies: the first is whatever one of them wrote as a caller.
        {"x_forwarded_for": OTHER},
        {"x_forwarded_for": f"192.0.2.3, {OTHER}"},
        {"x_forwarded_for": "::ffff:192.0.2.9, ::1"},
        {"forwarded": f"for=192.0.2.3, for={OTHER}"},
        {"forwarded": ""},
        {"forwarded": "for=unknown"},
        {"forwarded": f"for={CLIENT}, for=_secret"},
        {"forwarded": f"for={CLIENT}, proto=https"},
        {"forwarded": f"for={CLIENT}, by"},
        {"forwarded": f'for="{CLIENT}'},
        {"forwarded": f"for={CLIENT} for=203.0.113.10"},
        {"forwarded": '"' * 4000},
        # One is the proxy's, the other a stranger's: who knows which?
        {"x_forwarded_for": CLIENT, "forwarded": "for=203.0.113.10"},
        {"x_forwarded_for": CLIENT, "forwarded": "nonsense"},
        {"x_forwarded_for": "unknown", "forwarded": f"for={CLIENT}"},
    ],
)
def test_where_it_cannot_be_told_nobody_is_meant(headers: dict[str, str]) -> None:
    assert caller(PROXY, **headers) is None


def test_two_headers_that_agree_are_believed() -> None:
    said = caller(PROXY, x_forwarded_for=CLIENT, forwarded=f"for={CLIENT}")
    assert said == CLIENT


@pytest.mark.parametrize(
    ("peer", "local", "could"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.9", "192.0.2.10", True),
        ("::1", "::1", True),
        ("::ffff:127.0.0.1", "::ffff:127.0.0.1", True),
        ("192.0.2.10", "192.0.2.10", True),
        ("::ffff:192.0.2.10", "192.0.2.10", True),
        ("fe80::1%lan0", "fe80::1%lan0", True),
        ("nonsense", "192.0.2.10", True),
        ("192.0.2.11", "192.0.2.10", True),
        ("::ffff:192.0.2.11", "192.0.2.10", True),
        (PROXY, "192.0.2.10", False),
        (CLIENT, "", False),
        ("2001:db8::7", "2001:db8::8", False),
    ],
)
def test_whoever_comes_from_the_machine_itself_could_be_anybody_on_it(
    peer: str, local: str, *, could: bool
) -> None:
    own = parse_address("192.0.2.11")
    assert could_be_anybody(peer, local, own.__eq__) is could
