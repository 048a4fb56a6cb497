# SPDX-License-Identifier: GPL-2.0-or-later
"""The operator's own rules, classes and marks work as if vpngate were not there.

Each for throttled packets too: they come back from the shaper to where they left.
"""

import json
import re
import time
from collections.abc import Callable, Iterator

import pytest

from tests import planes
from tests.lab import load, operators, rates, wireguard
from tests.lab.daemon import Daemon
from tests.lab.namespaces import Namespace, wait_until
from tests.lab.topology import Lab, Place
from tests.lab.wireguard import WireGuard

_OFFERED = 3 * rates.RATE
_OWN_RATE = 2e6  # bit/s of the operator's class: slower than ours, so that it shows
_OWN_MARK = 0x7
_BIG, _SMALL = 1200, 400  # bytes of payload; the rule below drops the big ones
_BETWEEN = 900  # bytes: an outer packet longer than this carries a big one
_KEPT_ALIVE = 10  # packets that a tunnel sends by itself in the time of a stream


@pytest.fixture(scope="module")
def tunnel(lab: Lab, enforcing: Daemon) -> Iterator[WireGuard]:
    with wireguard.tunnel(lab.client, lab.stranger) as up:
        enforcing.wait_for_flow("wireguard", "throttle")
        yield up


def _ends(tunnel: WireGuard, direction: str) -> tuple[Place, Place]:
    ends = tunnel.client, tunnel.server
    return ends if direction == "upload" else (ends[1], ends[0])


def _plain(lab: Lab, direction: str) -> tuple[Place, Place]:
    """The same ways without a tunnel."""
    ends = lab.client.at(), lab.stranger.at()
    return ends if direction == "upload" else (ends[1], ends[0])


def _counter(gateway: Namespace, table: str, name: str) -> int:
    """Packets of a named counter; `table` is family and name."""
    text = gateway.run("nft", "list", "counter", *table.split(), name)
    match = re.search(r"packets (\d+)", text)
    assert match is not None
    return int(match[1])


@pytest.mark.parametrize(
    ("direction", "hook"), [("upload", "ingress"), ("download", "egress")]
)
def test_drop_rule_drops_what_it_would_have_dropped(
    lab: Lab, enforcing: Daemon, tunnel: WireGuard, direction: str, hook: str
) -> None:
    rule = f"""table netdev operator {{
        counter dropped {{ }}
        chain own {{
            type filter hook {hook} device "lan0" priority 0
            udp {"dport" if direction == "upload" else "sport"} {tunnel.port} \
                udp length > {_BETWEEN} counter name dropped drop
        }}
    }}"""
    sender, receiver = _ends(tunnel, direction)
    with operators.table(lab.gateway, rule):
        big = load.run_stream(sender, receiver, rate=2e6, seconds=1.0, size=_BIG)
        assert (big.received, _counter(lab.gateway, "netdev operator", "dropped")) == (
            0,
            big.sent,
        )
        small = load.run_stream(sender, receiver, rate=2e6, seconds=1.0, size=_SMALL)
        plain = load.run_stream(*_plain(lab, direction), rate=2e6, seconds=1.0)
        assert (small.lost, plain.lost) == (0, 0)
    _wait_for_slowing(enforcing, sender, receiver, direction)
    before = enforcing.metric("vpngate_throttled_packets_total", direction=direction)
    after_it = load.run_stream(sender, receiver, rate=2e6, seconds=1.0, size=_BIG)
    assert after_it.lost == 0
    passed = enforcing.metric("vpngate_throttled_packets_total", direction=direction)
    assert passed - before >= after_it.sent


def _wait_for_slowing(
    enforcing: Daemon, sender: Place, receiver: Place, direction: str
) -> None:
    """Programs have left an interface with such a chain alone, and come back to it."""
    name = "vpngate_throttled_packets_total"
    before = enforcing.metric(name, direction=direction)

    def slowed() -> bool:
        load.run_stream(sender, receiver, rate=2e5, seconds=0.2, size=_BIG)
        return enforcing.metric(name, direction=direction) > before

    wait_until(slowed, "slowed again")


def _passed_ifb(gateway: Namespace) -> int:
    """Packets that have left the ifb, whatever class they were in."""
    [link] = json.loads(gateway.run("ip", "-s", "-j", "link", "show", planes.DEVICE))
    return int(link["stats64"]["tx"]["packets"])


def test_own_mark_puts_throttled_packets_into_own_class(
    lab: Lab, tunnel: WireGuard
) -> None:
    """A mark set while forwarding, an HTB class chosen by the whole of that mark.

    For downloads see `test_egress_filters.py`.
    """
    marking = f"""table inet operator {{
        chain own {{
            type filter hook forward priority 0
            udp dport {tunnel.port} meta mark set {_OWN_MARK}
        }}
    }}"""
    with (
        operators.table(lab.gateway, marking),
        operators.classes(lab.gateway, "wan1", _OWN_MARK, _OWN_RATE),
        load.stream(tunnel.client, tunnel.server, rate=_OFFERED),
    ):
        measured = rates.rates_of(lambda: load.classes(lab.gateway, "wan1"), _OWN_RATE)
    assert measured["wan1 1:10"] == pytest.approx(_OWN_RATE, rel=rates.TOLERANCE)


def _seen(port: int, setting: str, mark: int) -> str:
    """Marks what carries big datagrams before routing, and counts it after routing."""
    return f"""table inet operator {{
        counter throttled {{ }}
        counter plain {{ }}
        chain marking {{
            type filter hook prerouting priority mangle
            meta l4proto udp udp length > {_BETWEEN} meta mark set {setting}
        }}
        chain counting {{
            type filter hook postrouting priority 0
            meta mark != {mark} return
            udp length <= {_BETWEEN} return
            udp sport {port} counter name throttled return
            udp dport {port} counter name throttled return
            meta l4proto udp counter name plain
        }}
    }}"""


_MARKS = {
    f"{_OWN_MARK:#x}": _OWN_MARK,
    "meta mark or 0xc0000000": 0xC0000000,
    "0xffffffff": 0xFFFFFFFF,
}


def _wait_for_rest(sender: Place, receiver: Place) -> None:
    """Until the sender's own queue is empty.

    In one kernel a packet counts against its socket until it has left the shaper, so
    that the tunnel in user space is held back, not dropped: it keeps for seconds what
    was offered beyond the rate.
    """
    wait_until(
        lambda: load.run_stream(sender, receiver, rate=1e6, seconds=0.5).lost == 0,
        "a way that is free",
    )
    time.sleep(1.0)


@pytest.mark.parametrize("direction", ["upload", "download"])
@pytest.mark.parametrize("setting", _MARKS)
def test_own_marks_are_seen_unchanged_and_lead_nobody_to_the_shaper(
    lab: Lab,
    tunnel: WireGuard,
    direction: str,
    setting: str,
    record_property: Callable[[str, object], None],
) -> None:
    """A mark set before the shaper is the mark that the operator's last rule sees.

    A plain flow with the same mark, whatever its bits, does not visit the shaper: what
    passes the ifb is what was counted as throttled.
    """
    sender, receiver = _ends(tunnel, direction)
    source, sink = _plain(lab, direction)
    _wait_for_rest(sender, receiver)
    with operators.table(lab.gateway, _seen(tunnel.port, setting, _MARKS[setting])):
        before = _passed_ifb(lab.gateway)
        inside = load.run_stream(sender, receiver, rate=2e6, seconds=1.0, size=_BIG)
        between = _passed_ifb(lab.gateway)
        plain = load.run_stream(source, sink, rate=2e6, seconds=1.0, size=_BIG)
        after = _passed_ifb(lab.gateway)
        counted = [
            _counter(lab.gateway, "inet operator", name)
            for name in ("throttled", "plain")
        ]
    record_property("packets_throttled_plain_and_on_ifb", (counted, after - before))
    assert (inside.lost, plain.lost) == (0, 0)
    assert counted == [inside.sent, plain.sent]
    assert between - before >= inside.sent
    assert after - between <= _KEPT_ALIVE


def test_flush_of_the_ruleset_by_someone_else_changes_nothing(
    lab: Lab, enforcing: Daemon, tunnel: WireGuard
) -> None:
    lab.gateway.run("nft", "flush", "ruleset")
    assert "netdev vpngate" in lab.gateway.run("nft", "list", "tables")
    assert enforcing.metric("vpngate_throttled_flows") == 1
    measured = rates.class_rates(lab, tunnel.client, tunnel.server)
    assert measured == [pytest.approx(rates.RATE, rel=rates.TOLERANCE)]
