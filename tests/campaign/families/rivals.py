# SPDX-License-Identifier: GPL-2.0-or-later
"""Others at work on the gateway: who flushes, an operator's own rules, a second daemon.

Knows what is theirs to do; does not know how vpngate keeps out of it.
"""

import contextlib
from collections.abc import Iterator

from tests.campaign.fault import Fault, Parameters
from tests.campaign.world import World
from tests.lab.daemon import VPNGATE
from tests.lab.namespaces import PATIENCE, LabError

_FLUSHES = {
    "ruleset": "flush ruleset",
    "table": "flush table netdev vpngate",
    "delete": "delete table netdev vpngate",
    "element": "delete element netdev vpngate armed { 0 }",
    "counters": "reset counters",
}
_RULES = {
    "forward": """table inet operator {
        chain forward { type filter hook forward priority filter
            ct state established accept
            counter
        }
    }""",
    "netdev": """table netdev operator {
        chain in { type filter hook ingress device "lan0" priority -100
            ip saddr 192.0.2.1 counter
        }
    }""",
    "later": """table netdev operator {
        chain in { type filter hook ingress device "lan0" priority 700
            ip saddr 192.0.2.1 counter
        }
    }""",
    "marks": """table inet operator {
        chain mangle { type filter hook prerouting priority mangle
            meta mark set 0x5170
        }
    }""",
}
_REFUSED = 1  # exit status


@contextlib.contextmanager
def _flushed(world: World, parameters: Parameters) -> Iterator[None]:
    """By somebody who does not own the table: nothing of it goes."""
    for _ in range(parameters["times"]):
        world.gateway.run("nft", _FLUSHES[parameters["what"]], check=False)
    world.hold(world.has_table(), "a foreign flush took the table away")
    yield
    world.hold(world.has_table(), "a foreign flush took the table away")


@contextlib.contextmanager
def _operated(world: World, parameters: Parameters) -> Iterator[None]:
    """Rules of the operator's own come, and go."""
    rules = _RULES[parameters["what"]]
    head = rules.partition("{")[0].strip()
    for _ in range(parameters["times"]):
        world.gateway.run("nft", "-f", "-", stdin=rules)
        world.gateway.run("nft", f"delete {head}")
    world.gateway.run("nft", "-f", "-", stdin=rules)
    try:
        yield
    finally:
        world.gateway.run("nft", f"delete {head}", check=False)


@contextlib.contextmanager
def _second(world: World, _: Parameters) -> Iterator[None]:
    """Another daemon with the same files gives up, in a line."""
    other = world.subject.another()
    try:
        try:
            status = other.wait(PATIENCE)
        except LabError as error:
            world.found.append(f"a second daemon: {error}")
        else:
            said = [line for line in other.output().splitlines() if line]
            world.hold(status == _REFUSED, f"a second daemon ended with {status}")
            last = said[-1] if said else ""
            world.hold(
                last.startswith("vpngate: ") and "Traceback" not in other.output(),
                f"a second daemon's last words: {last}",
            )
        yield
    finally:
        other.stop()


@contextlib.contextmanager
def _cleared(world: World, _: Parameters) -> Iterator[None]:
    """`vpngate clear` while one runs: refused, nothing is touched."""
    config = str(world.subject.settings.config)
    ended = world.gateway.run(
        *("sh", "-c", f"{VPNGATE} clear --config {config} 2>&1; echo $?")
    ).split()
    world.hold(ended[-1] == str(_REFUSED), f"clear beside a daemon: {' '.join(ended)}")
    world.hold(world.has_table(), "clear took a running daemon's table")
    yield


FAULTS = (
    Fault(
        "foreign flush",
        _flushed,
        lambda random: {
            "what": random.choice(sorted(_FLUSHES)),
            "times": random.randint(1, 20),
        },
        weight=3,
    ),
    Fault(
        "operator's rules",
        _operated,
        lambda random: {
            "what": random.choice(sorted(_RULES)),
            "times": random.randint(0, 10),
        },
        weight=2,
    ),
    Fault("second daemon", _second, weight=1.5),
    Fault("clear beside it", _cleared, weight=1),
)
