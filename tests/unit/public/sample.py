# SPDX-License-Identifier: GPL-2.0-or-later
"""What a daemon says of itself, for the tests of what everybody sees.

Knows how to make a state, the facts beside it, and the report of both; every part can
be made otherwise.
"""

from collections.abc import Mapping
from dataclasses import replace
from math import sin
from typing import Any

from tests.unit.daemon.gatehouse import NOW, config
from vpngate.config import Mode
from vpngate.public.transparency import Hour, PublicFacts, transparency
from vpngate.stance import Cause, HaltReason, Stance, Why, first_stance

CONFIG = """
[gateway]
interfaces = ["lan*"]
mode = "enforce"
[http]
names = ["gw1.example.net"]
registration_url = "https://register.example.net/ranges?a=1&b=2"
contact = "noc@example.net, +49 30 1234567"
"""
TUNNELS = ("ipsec", "l2tp", "openvpn", "pptp", "wireguard")
CLASSES = ("allow", "throttle", "none")


def state(tunnels: tuple[str, ...] = TUNNELS, interfaces: int = 2) -> dict[str, Any]:
    """An answer to `status` of a gateway that acts."""
    return {
        "healthy": True,
        "reasons": [],
        "warnings": [],
        "version": "0.1.0",
        "mode": "enforce",
        "enforced_share": 100,
        "stance": {"mode": "enforce", "why": "configured"},
        "interfaces": [f"lan{number}" for number in range(interfaces)],
        "interfaces_left_alone": {"ppp7": "it is not there yet"},
        "registry": {
            "name": "Example registry",
            "serial": 42,
            "generated": "2027-01-15T06:00:00Z",
            "expires": "2027-02-15T06:00:00Z",
            "loaded": "2027-01-15T07:00:12Z",
            "prefixes": {"ipv4": 18204, "ipv6": 911},
            "last_refusal": None,
            "sources_passed_over": [],
        },
        "flows": {
            name: {
                "initiation": 1,
                "confirmed": 12 + place,
                "verdicts": {"allow": 3400 * place, "throttle": 260, "none": 7},
            }
            for place, name in enumerate(tunnels)
        },
        "throttled": {"limit": "5mbit", "flows": {"ipv4": 61, "ipv6": 4}},
        "enforcing_would_have": None,
        "capture": {"captured": 1000},
        "kernel": {"armed": True, "in_sync": True},
    }


def observing(whole: Mapping[str, Any]) -> dict[str, Any]:
    """The state of one that only observes."""
    foreseen = {"slowed_flows": {"wireguard": 1213, "openvpn": 4}}
    return {
        **whole,
        "mode": "observe",
        "stance": {"mode": "observe", "why": "configured"},
        "throttled": {"limit": "5mbit", "flows": {"ipv4": 0, "ipv6": 0}},
        "enforcing_would_have": foreseen,
    }


def hour(tunnels: tuple[str, ...] = TUNNELS, known: int = 60) -> Hour:
    """An hour of which the last `known` minutes are."""

    def column(scale: float, shift: float) -> list[int | None]:
        some = [round(scale * (1.2 + sin(m / 7 + shift))) for m in range(known)]
        return [None] * (60 - known) + some

    return Hour(
        ends=NOW - 20,
        minutes=60,
        flows={
            name: {
                verdict: column(6 / (1 + place), place + at)
                for at, verdict in enumerate(CLASSES)
            }
            for place, name in enumerate(tunnels)
        },
        up={name: column(9, place) for place, name in enumerate(tunnels)},
        bytes={
            what: {"upload": column(scale, 1), "download": column(4 * scale, 2)}
            for what, scale in (("all", 2.4e9), ("slowed", 6.0e6))
        },
    )


def facts(text: str = CONFIG, **others: Any) -> PublicFacts:
    """The facts of one that acts, or others."""
    usual = PublicFacts(
        gateway="gw1.example.net",
        started=NOW - 6 * 86400,
        made=NOW,
        config=config(text),
        stance=stance(),
        acting=True,
        suspend="",
        refreshed=NOW - 1300,
        stale=[],
        hour=hour(),
        rates={
            "all": {"upload": 3.1e8, "download": 1.9e9},
            "slowed": {"upload": 8.2e5, "download": 4.1e6},
        },
        in_grace={"ipv4": 3, "ipv6": 0},
        halts={reason.value: 0 for reason in HaltReason},
    )
    return replace(usual, **others)


def stance(
    mode: Mode = Mode.ENFORCE, why: Why | None = None, share: int = 100
) -> Stance:
    """A stance that has been in force for some days."""
    made = first_stance(mode, share, NOW - 3 * 86400)
    return made if why is None else replace(made, why=why)


def enforcing() -> dict[str, Any]:
    return transparency(state(), facts())


def watching() -> dict[str, Any]:
    quiet = facts(stance=stance(Mode.OBSERVE), acting=False)
    return transparency(observing(state()), quiet)


def halted() -> dict[str, Any]:
    why = Why(Cause.HALTED, "what the log says, at length", HaltReason.WITNESS)
    stopped = stance(Mode.OBSERVE, why)
    counts = {HaltReason.WITNESS.value: 1}
    return transparency(
        observing(state()), facts(stance=stopped, acting=False, halts=counts)
    )


def stale() -> dict[str, Any]:
    line = "the registry in force expired at 2027-01-14T06:00:00Z; it still spares"
    expired = state()
    expired["registry"]["expires"] = "2027-01-14T06:00:00Z"
    return transparency(
        expired, facts(stale=[f"{line} everybody in it"], refreshed=NOW - 90000)
    )


def suspended() -> dict[str, Any]:
    why = Why(Cause.SUSPENDED)
    words = "maintenance <b>of</b> the register"
    return transparency(
        observing(state()),
        facts(stance=stance(Mode.OBSERVE, why), acting=False, suspend=words),
    )


def young() -> dict[str, Any]:
    """A gateway that began three minutes ago."""
    begun = facts(started=NOW - 190, hour=hour(known=3))
    return transparency(state(), begun)


def crowded() -> dict[str, Any]:
    """500 kinds of tunnels at 64 interfaces: more than there will ever be."""
    names = tuple(f"kind-of-tunnel-{number}" for number in range(500))
    return transparency(state(names, 64), facts(hour=hour(names)))


ALL = {
    "enforcing": enforcing,
    "observing": watching,
    "halted": halted,
    "stale": stale,
    "suspended": suspended,
    "young": young,
    "crowded": crowded,
}
