# SPDX-License-Identifier: GPL-2.0-or-later
"""The transparency report: what this gateway does, for everybody, in numbers.

Knows what of the daemon's state is told to all, by which names (docs/page.md and
docs/report.schema.json), and that page, report and command share it; does not know how
anything is counted. No address and no prefix of anyone is in it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vpngate.config import Config
from vpngate.plaintext import plain
from vpngate.public.wording import CLASSES, NOT_RECOGNISED, tunnel
from vpngate.stance import Cause, Stance
from vpngate.timekeeping.moments import format_moment
from vpngate.units import format_rate

FORMAT = 1  # of the report; grows when something in it changes its meaning
FLOOR = 512_000  # bit/s: no configuration may ask for less
DIRECTIONS = ("upload", "download")
# What of a state is for everybody; of the registry and in all.
_STATE = frozenset(
    {
        *("healthy", "reasons", "warnings", "version", "mode", "enforced_share"),
        *("stance", "interfaces", "interfaces_left_alone", "flows", "throttled"),
        *("enforcing_would_have", "capture", "kernel"),
    }
)
_REGISTRY = frozenset(
    {"name", "serial", "generated", "expires", "loaded", "prefixes", "digest"}
)

Columns = Sequence[int | None]  # a number a minute, the latest last; None: not known


@dataclass(frozen=True)
class Hour:
    """The last minutes that are over: how many, when the last one was, and columns.

    flows  by tunnel and class: verdicts reached
    up     by tunnel: confirmed flows that were known, at most
    bytes  by what (all, slowed) and direction
    """

    ends: float
    minutes: int
    flows: Mapping[str, Mapping[str, Columns]]
    up: Mapping[str, Columns]
    bytes: Mapping[str, Mapping[str, Columns]]


@dataclass(frozen=True)
class PublicFacts:
    """What is told to all, and stands in no answer to `status`. Moments since 1970.

    acting     whether anybody may be slowed at this moment
    rates      bit/s lately, by what (all, slowed) and direction
    refreshed  when a source last had the registry in force; None: not yet
    in_grace   registrations that stand by their grace alone, by family
    stale      what of the registry is not as fresh as it should be, a line each
    halts      how often acting stopped of itself since the start, by reason
    """

    gateway: str
    started: float
    made: float
    config: Config
    stance: Stance
    acting: bool
    suspend: str
    refreshed: float | None
    stale: Sequence[str]
    hour: Hour
    rates: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    in_grace: Mapping[str, int] = field(default_factory=dict)
    halts: Mapping[str, int] = field(default_factory=dict)


def public_state(state: Mapping[str, Any]) -> dict[str, Any]:
    """An answer to `status` for everybody: what names files or servers is left out."""
    registry = {k: v for k, v in state["registry"].items() if k in _REGISTRY}
    chosen = {name: value for name, value in state.items() if name in _STATE}
    return {**chosen, "registry": registry}


def transparency(state: Mapping[str, Any], facts: PublicFacts) -> dict[str, Any]:
    """The report, fit for JSON, of what the daemon answers to `status`, and more."""
    return {
        "format": FORMAT,
        "made": format_moment(round(facts.made)),
        "gateway": {
            "name": facts.gateway,
            "version": state["version"],
            "started": format_moment(round(facts.started)),
            "interfaces": len(state["interfaces"]),
            "interfaces_left_alone": len(state["interfaces_left_alone"]),
        },
        "stance": _stance(facts),
        "limits": _limits(facts.config),
        "classes": {
            name: {"meaning": meaning, "flows": _reached(state, name)}
            for name, meaning in CLASSES.items()
        },
        "tunnels": {
            name: _tunnel(name, state, facts.hour)
            for name in sorted({*facts.config.tunnels.enabled, *state["flows"]})
        },
        "slowed_flows": sum(state["throttled"].get("flows", {}).values()),
        "bits_per_second": {
            what: {d: _rate(facts, what, d) for d in DIRECTIONS}
            for what in ("all", "slowed")
        },
        "would_be_slowed": _foreseen(state),
        "last_hour": _hour(facts.hour),
        "registry": _registry(state["registry"], facts),
        "halts": dict(facts.halts),
        "not_recognised": list(NOT_RECOGNISED),
        "register": {
            "url": facts.config.http.registration_url,
            "contact": facts.config.http.contact,
            "which_end": "either",
            "looked_for_every_seconds": round(facts.config.registry.refresh),
        },
    }


def _stance(facts: PublicFacts) -> dict[str, Any]:
    stance = facts.stance
    halted = stance.why.cause is Cause.HALTED
    return {
        "mode": stance.mode.value,
        "acting": facts.acting,
        "share_percent": stance.share,
        "since": format_moment(round(stance.since or facts.started)),
        "until": _written(stance.until.wall if stance.until else None),
        "confirm_by": _written(stance.confirm_by.wall if stance.confirm_by else None),
        "why": stance.why.cause.value,
        "halted": stance.why.halt.value if halted and stance.why.halt else None,
        "suspended": plain(facts.suspend) or None,
    }


def _limits(config: Config) -> dict[str, Any]:
    lengths = config.throttle.subscriber_prefix
    return {
        "rate": format_rate(config.throttle.rate),
        "bits_per_second": config.throttle.rate,
        "floor_bits_per_second": FLOOR,
        "applies_to": "a subscriber and direction",
        "subscriber_prefix": {"ipv4": lengths.ipv4, "ipv6": lengths.ipv6},
    }


def _reached(state: Mapping[str, Any], verdict: str) -> int:
    flows = state["flows"].values()
    return sum(each["verdicts"].get(verdict, 0) for each in flows)


def _tunnel(name: str, state: Mapping[str, Any], hour: Hour) -> dict[str, Any]:
    known = state["flows"].get(name, {})
    lately = hour.flows.get(name, {})
    return {
        "name": tunnel(name),
        "up": known.get("confirmed", 0),
        "flows": {c: known.get("verdicts", {}).get(c, 0) for c in CLASSES},
        "last_hour": {c: sum(filter(None, lately.get(c, ()))) for c in CLASSES},
    }


def _rate(facts: PublicFacts, what: str, direction: str) -> int:
    return max(0, round(facts.rates.get(what, {}).get(direction, 0.0)))


def _foreseen(state: Mapping[str, Any]) -> int | None:
    foreseen = state["enforcing_would_have"]
    return None if foreseen is None else sum(foreseen["slowed_flows"].values())


def _hour(hour: Hour) -> dict[str, Any]:
    return {
        "ends": format_moment(round(hour.ends)),
        "minutes": hour.minutes,
        "flows": {
            name: {verdict: list(column) for verdict, column in each.items()}
            for name, each in hour.flows.items()
        },
        "up": {name: list(column) for name, column in hour.up.items()},
        "bytes": {
            what: {direction: list(column) for direction, column in each.items()}
            for what, each in hour.bytes.items()
        },
    }


def _registry(registry: Mapping[str, Any], facts: PublicFacts) -> dict[str, Any]:
    name = registry["name"]
    return {
        "name": None if name is None else plain(name),
        "serial": registry["serial"],
        "generated": registry["generated"],
        "expires": registry["expires"],
        "loaded": registry["loaded"],
        "refreshed": _written(facts.refreshed),
        "prefixes": dict(registry["prefixes"]),
        "in_grace": dict(facts.in_grace),
        "grace_seconds": round(facts.config.registry.removal_grace),
        "stale": [plain(line) for line in facts.stale],
    }


def _written(moment: float | None) -> str | None:
    return None if moment is None else format_moment(round(moment))
