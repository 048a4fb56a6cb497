# SPDX-License-Identifier: GPL-2.0-or-later
"""Whoever sends as many handshakes as the machine can, nobody else's goes unnoticed.

    neighbour ── lan1 ┐           ┌ wan1 ── stranger
       client ── lan0 ┴─ gateway ─┴ wan0 ── member

One of them floods for seconds. Meanwhile the client and the stranger shake hands a few
times, each time in another flow and without saying anything twice. A table of the
operator's, before vpngate's, counts what of that got to the client's hooks at all: what
the lab itself loses under such a load is no handshake missed.
"""

import itertools
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.lab import handshakes
from tests.lab.daemon import Daemon
from tests.lab.forging import Flow, mouth
from tests.lab.namespaces import LabError, Namespace, wait_until
from tests.lab.topology import Host, Lab
from tests.planes import PLANE
from vpngate.config import Plane

_ROOT = Path(__file__).parents[2]
_PROGRAM = ("env", f"PYTHONPATH={_ROOT}", sys.executable, "-m", "tests.lab.barrage")
_SECONDS = 40  # at most; it ends when the handshakes are through
_HANDSHAKES = 5
_SETTLED = 1.0  # seconds of flood before the first: every limit has its burst behind it
_CROSSING = 10.0  # seconds for a packet to get to a hook, or it was lost on its way
_COPIED = 0.5  # the part of a flood that a limit lets through: seconds of few a second
_COUNTERS = re.compile(r"counter (\w+) \{\s*packets (\d+)")
_INITIATION, _RESPONSE = 1, 2
# Nobody lives there, and the gateway drops what goes there behind its hooks.
_NOWHERE = {4: "198.18.0.0/15", 6: "2001:db8:dead::/48"}

_ports = itertools.count(40_000)  # of the client: each handshake is another flow's

Record = Callable[[str, object], None]

# Before every chain of vpngate's; programs have no interface with a chain at ingress.
_FAMILY, _IN_BY = {
    Plane.NFTABLES: ("netdev", 'type filter hook ingress device "{}" priority -300;'),
    Plane.EBPF: ("inet", 'type filter hook prerouting priority -300; iifname "{}"'),
}[PLANE]
_SEEN = f"""
table {_FAMILY} seen_in {{
    counter asked {{ }}
    counter flooded {{ }}
    chain from_client {{
        {_IN_BY.format("lan0")} udp dport 51820 counter name asked
    }}
    chain flood_in {{
        {_IN_BY.format("lan1")} udp dport 51820 counter name flooded
    }}
}}
table netdev seen_out {{
    counter answered {{ }}
    counter flooded {{ }}
    chain to_client {{
        type filter hook egress device "lan0" priority -300
        udp sport 51820 counter name answered
    }}
    chain flood_out {{
        type filter hook egress device "lan1" priority -300
        udp dport 51820 counter name flooded
    }}
}}
"""


class Flood(NamedTuple):
    """Who sends, in whose name, to whom, and what; and what holds it back."""

    sender: Callable[[Lab], Host]
    source: str
    target: str
    kind: int = _INITIATION
    held_by: str = "limit"


@dataclass
class Seen:
    """What the operator's tables have counted."""

    gateway: Namespace

    def count(self, what: str) -> int:
        found = 0
        for table in (f"{_FAMILY} seen_in", "netdev seen_out"):
            command = ("nft", "list", "counters", "table", *table.split())
            ask = partial(subprocess.check_output, command, text=True)
            listed = self.gateway.call(ask)
            found += int(dict(_COUNTERS.findall(listed)).get(what, 0))
        return found

    def come(self, what: str, before: int) -> bool:
        """Whether one more comes."""
        try:
            wait_until(lambda: self.count(what) > before, what, _CROSSING)
        except LabError:
            return False
        return True


@pytest.fixture(scope="module")
def seen(lab: Lab) -> Iterator[Seen]:
    for version, network in _NOWHERE.items():
        lab.gateway.run("ip", f"-{version}", "route", "add", "blackhole", network)
    lab.gateway.run("nft", "-f", "-", stdin=_SEEN)
    yield Seen(lab.gateway)
    lab.gateway.run("nft", "delete", "table", _FAMILY, "seen_in")
    lab.gateway.run("nft", "delete", "table", "netdev", "seen_out")


def shake_hands(lab: Lab, seen: Seen, port: int, version: int) -> bool:
    """Once, at first try; whether both messages got to the client's hooks."""
    ends = (lab.client.at(version).address, lab.stranger.at(version).address)
    opening = handshakes.wireguard()
    flow = Flow(*ends, port, opening.port, opening.transport)
    asked, answered = seen.count("asked"), seen.count("answered")
    with mouth(lab.client) as client, mouth(lab.stranger) as stranger:
        client.send(flow.packet(opening.request, back=False))
        if not seen.come("asked", asked):
            return False
        stranger.send(flow.packet(opening.answer, back=True))
        return seen.come("answered", answered)


def under(lab: Lab, seen: Seen, flood: Flood, record: Record) -> int:
    """How many handshakes crossed the client's hooks while a flood went on."""
    version = 6 if ":" in flood.source else 4
    sender = flood.sender(lab)
    before, begin = seen.count("flooded"), time.monotonic()
    ends = (sender.mac, sender.next_hop, flood.source, flood.target)
    what = ("eth0", *ends, str(flood.kind), str(_SECONDS))
    with (
        sender.namespace.running(*_PROGRAM, "fast", *what) as flooding,
        sender.namespace.running(*_PROGRAM, "steady", *what) as steady,
    ):
        flooding.expect("sending")
        steady.expect("sending")
        time.sleep(_SETTLED)
        crossed = 0
        for _ in range(_HANDSHAKES):
            through = shake_hands(lab, seen, next(_ports), version)
            if (flooding.exit_status, steady.exit_status) != (None, None):
                break
            crossed += through
    record("seconds", time.monotonic() - begin)
    record("fast", flooding.output().split()[1:])
    record("steady", steady.output().split()[1:])
    record("flood_at_the_hook", seen.count("flooded") - before)
    record("handshakes", crossed)
    return crossed


def held_back(running: Daemon) -> dict[str, float]:
    """Candidates that were not copied, by what held them back."""
    lost = "vpngate_capture_lost_packets_total"
    return {
        "forged": running.metric("vpngate_reverse_path_failed_packets_total"),
        "limit": running.metric(lost, reason="limit"),
    }


def confirmed(running: Daemon) -> float:
    labels = {"tunnel": "wireguard", "verdict": "throttle"}
    return running.metric("vpngate_flows_total", **labels)


FLOODS = {
    "forged": Flood(
        *(lambda lab: lab.neighbour, "100.64.1.0/24", _NOWHERE[4]), held_by="forged"
    ),
    "forged-ipv6": Flood(
        *(lambda lab: lab.neighbour, "2001:db8:64:1::/64", _NOWHERE[6]),
        held_by="forged",
    ),
    "own": Flood(lambda lab: lab.neighbour, "100.64.2.2", _NOWHERE[4]),
    "own-ipv6": Flood(lambda lab: lab.neighbour, "2001:db8:64:2::/64", _NOWHERE[6]),
    "outside": Flood(lambda lab: lab.member, "203.0.113.10", "100.64.2.2", _RESPONSE),
    "outside-forged": Flood(
        lambda lab: lab.member, "10.0.0.0/8", "100.64.2.2", _RESPONSE
    ),
}


@pytest.mark.parametrize("name", FLOODS)
def test_handshakes_are_confirmed_at_their_first_try(
    lab: Lab, enforcing: Daemon, seen: Seen, name: str, record_property: Record
) -> None:
    flood, before, held = FLOODS[name], confirmed(enforcing), held_back(enforcing)
    came = seen.count("flooded")
    crossed = under(lab, seen, flood, record_property)
    record_property("confirmed_at_once", confirmed(enforcing) - before)
    assert crossed, "the lab has lost them all"
    enforcing.wait_until(
        lambda: confirmed(enforcing) >= before + crossed,
        f"{crossed} handshakes confirmed",
    )
    came = seen.count("flooded") - came
    least = came * (1 - _COPIED) if flood.held_by == "limit" else came

    def counted() -> float:
        return held_back(enforcing)[flood.held_by] - held[flood.held_by]

    enforcing.wait_until(lambda: counted() >= least, "the flood counted")
    record_property("held_back", counted())
    assert counted() <= came
    state = enforcing.ask("status")
    assert state["healthy"], state["reasons"]
