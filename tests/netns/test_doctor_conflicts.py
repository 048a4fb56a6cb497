# SPDX-License-Identifier: GPL-2.0-or-later
"""The doctor on a gateway beside what is in the way of vpngate, or might be."""

import contextlib
import os
import shlex
import socket
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.lab.asking_doctor import ABLE, UNABLE, ask
from tests.lab.daemon import Settings, enforcing_settings
from tests.lab.topology import Lab
from vpngate.capture.live.nflog import NflogCapture


@pytest.fixture(scope="module")
def settings(lab: Lab) -> Settings:
    return enforcing_settings(lab, "doctor")


@dataclass(frozen=True)
class Neighbour:
    """Something of the operator's: how it comes and goes, and what is to be found."""

    up: str
    down: str
    where: str
    weight: str
    words: str


def _late(hook: str, family: str = "netdev", device: str = "lan0") -> str:
    return (
        f"nft add table {family} own {{ chain late {{ type filter hook {hook}"
        f" device {device} priority 600; }}; }}"
    )


def _rule(rule: str) -> str:
    return (
        "nft add table inet own { chain c { type filter hook forward priority 0;"
        f" {rule}; }}; }}"
    )


def _rid(family: str) -> str:
    return f"nft delete table {family} own"


_CONFLICTS = {
    "later ingress chain": Neighbour(
        *(_late("ingress"), _rid("netdev"), "nftables chain netdev own late"),
        *("conflict", "comes after vpngate's (ingress, priority 600, on lan0)"),
    ),
    "later ingress chain, inet": Neighbour(
        *(_late("ingress", "inet"), _rid("inet"), "nftables chain inet own late"),
        *("conflict", "throttled packets pass it by"),
    ),
    "later egress chain": Neighbour(
        *(_late("egress"), _rid("netdev"), "nftables chain netdev own late"),
        *("conflict", "throttled packets pass it by"),
    ),
    "egress chain elsewhere": Neighbour(
        _late("egress", device="wan0"),
        *(_rid("netdev"), "nftables chain netdev own late"),
        *("costs", "does not see throttled packets"),
    ),
    "table of our name": Neighbour(
        "nft add table netdev vpngate",
        "nft delete table netdev vpngate",
        *("nftables table netdev vpngate", "conflict", "is not vpngate's"),
    ),
    "filter at ingress": Neighbour(
        "tc qdisc add dev lan0 clsact; tc filter add dev lan0 ingress pref 9 u32"
        " match u32 0 0 action mirred egress mirror dev wan0",
        "tc qdisc del dev lan0 clsact",
        *("tc filter u32 pref 9 at ingress of lan0", "costs", "(mirred)"),
    ),
    "filter at egress": Neighbour(
        "tc qdisc add dev lan0 clsact; tc filter add dev lan0 egress pref 9 u32"
        " match u32 0 0 action mirred egress mirror dev wan0",
        "tc qdisc del dev lan0 clsact",
        *("tc filter u32 pref 9 at egress of lan0", "conflict", "is left alone"),
    ),
    "filter of the root's queue": Neighbour(
        "tc qdisc add dev lan0 root handle 1: htb; tc filter add dev lan0 parent 1:"
        " pref 9 u32 match u32 0 0 action mirred egress mirror dev wan0",
        "tc qdisc del dev lan0 root",
        *("tc filter u32 pref 9 at egress of lan0", "conflict", "is left alone"),
    ),
    "ifb of our name": Neighbour(
        *("ip link add ifb-vpngate type ifb", "ip link del ifb-vpngate"),
        *("interface ifb-vpngate", "conflict", "was not made by vpngate"),
    ),
    "another device of our name": Neighbour(
        "ip link add ifb-vpngate type veth peer name other0",
        *("ip link del ifb-vpngate", "interface ifb-vpngate"),
        *("conflict", "is not an ifb"),
    ),
    "interface down": Neighbour(
        *("ip link add lan9 type veth peer name other0", "ip link del lan9"),
        *("interface lan9", "costs", "is down"),
    ),
    "bridge and port": Neighbour(
        "ip link add lan8 type bridge; ip link add lan9 type veth peer name other0;"
        " ip link set lan9 master lan8",
        "ip link del lan9; ip link del lan8",
        *("interface lan9", "costs", "lan8 stands on it"),
    ),
}


@contextlib.contextmanager
def _present(lab: Lab, neighbour: Neighbour) -> Iterator[None]:
    def quoted(words: str) -> str:
        """nft's braces and semicolons are not for the shell."""
        if not words.startswith("nft"):
            return words
        head, brace, rest = words.partition("{")
        return f"{head}{shlex.quote(brace + rest)}" if brace else words

    lab.gateway.run("sh", "-ec", quoted(neighbour.up))
    try:
        yield
    finally:
        lab.gateway.run("sh", "-ec", quoted(neighbour.down))


@pytest.mark.parametrize("name", _CONFLICTS)
def test_what_stands_in_the_way_is_named(
    lab: Lab, settings: Settings, name: str
) -> None:
    neighbour = _CONFLICTS[name]
    with _present(lab, neighbour):
        answer = ask(lab, settings)
    weight, text = answer.findings[neighbour.where]
    assert weight == neighbour.weight
    assert neighbour.words in text
    expected = [] if weight == "costs" else [neighbour.where]
    assert answer.grave == expected
    assert answer.status == (UNABLE if expected else ABLE)


def test_a_group_and_an_address_that_are_taken(lab: Lab, settings: Settings) -> None:
    def listen() -> socket.socket:
        server = socket.create_server(("127.0.0.1", 9753))
        server.listen()
        return server

    with lab.gateway.call(lambda: NflogCapture(5170)), lab.gateway.call(listen):
        answer = ask(lab, settings)
    assert answer.status == UNABLE
    assert answer.grave == ["NFLOG group 5170", "http.listen 127.0.0.1:9753"]
    for where in answer.grave:
        assert f"({os.getpid()})" in answer.findings[where][1]
