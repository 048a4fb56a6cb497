# SPDX-License-Identifier: GPL-2.0-or-later
"""A daemon's state on one screen of a terminal, for who watches it.

Knows what matters most and stands on top; `vpngate status` has everything. What a
daemon of another version does not tell is left out.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from vpngate.cli.printing import screen
from vpngate.cli.printing.named_rows import spelled, style_of

if TYPE_CHECKING:
    from rich.console import RenderableType

_State = Mapping[str, Any]
_HEADING = ("TUNNEL", "INITIATION", "CONFIRMED", "ALLOW", "THROTTLE", "NONE")
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def overview(state: _State | None, note: str, at: str) -> list["RenderableType"]:
    """The parts of the screen, from its top; `state` is None where nobody answers."""
    if state is None:
        rows = [("at", at, ""), ("no answer", note, screen.BAD)]
        return [screen.grid(rows)]
    rows = [("at", at, "")]
    if note:
        rows.append(("note", note, screen.WARNING))
    parts: list[RenderableType] = [screen.grid([*rows, *_first(state)])]
    if flows := state.get("flows"):
        parts += ["", screen.table(_HEADING, [_flows(*each) for each in flows.items()])]
    parts += ["", screen.grid(list(_rest(state)))]
    return parts


def lasting(seconds: float) -> str:
    """A time that has passed, in its two largest units: `3 d 4 h`, `12 s`."""
    whole = max(0, int(seconds))
    for unit, name, smaller, its_name in (
        (_DAY, "d", _HOUR, "h"),
        (_HOUR, "h", _MINUTE, "min"),
        (_MINUTE, "min", 1, "s"),
    ):
        if whole >= unit:
            return f"{whole // unit} {name} {whole % unit // smaller} {its_name}"
    return f"{whole} s"


def _first(state: _State) -> Iterator[tuple[str, str, str]]:
    healthy = state.get("healthy")
    yield "healthy", spelled(healthy), style_of("healthy", healthy)
    for name in ("reasons", "warnings"):
        for line in state.get(name) or ():
            yield name[:-1], spelled(line), style_of(name, line)
    stance = state.get("stance") or {}
    until = f" until {stance['until']}" if stance.get("until") else ""
    share = f" for {stance['share']} %" if stance.get("mode") == "enforce" else ""
    yield "stance", f"{stance.get('mode')}{share}{until} ({stance.get('why')})", ""
    for name in ("confirm_by", "what_to_do"):
        if stance.get(name):
            yield name.replace("_", " "), spelled(stance[name]), screen.WARNING
    up = lasting(state.get("uptime_seconds") or 0)
    yield "daemon", f"{state.get('version')}, up {up} since {state.get('started')}", ""
    yield "interfaces", spelled(state.get("interfaces")), ""
    yield "registry", _registry(state), ""
    yield from _refreshes(state.get("refreshes") or {})


def _registry(state: _State) -> str:
    registry = state.get("registry") or {}
    counts = registry.get("prefixes") or {}
    prefixes = ", ".join(f"{number} {family}" for family, number in counts.items())
    serial = registry.get("serial")
    return prefixes + ("" if serial is None else f", serial {serial}")


def _refreshes(told: _State) -> Iterator[tuple[str, str, str]]:
    for name in ("source", "last_success", "next"):
        if told.get(name):
            yield name.replace("_", " "), spelled(told[name]), ""
    refusal = told.get("last_refusal")
    if refusal:
        style = screen.WARNING if told.get("failures") else screen.FAINT
        yield "last refusal", f"{refusal['at']}: {refusal['why']}", style


def _flows(tunnel: str, counts: _State) -> tuple[str, ...]:
    verdicts = counts.get("verdicts") or {}
    seen = (counts.get(name, 0) for name in ("initiation", "confirmed"))
    reached = (verdicts.get(name, 0) for name in ("allow", "throttle", "none"))
    return (tunnel, *map(str, (*seen, *reached)))


def _rest(state: _State) -> Iterator[tuple[str, str, str]]:
    slowed = state.get("throttled") or {}
    for name in ("limit", "rate", "flows", "dropped", "spared"):
        if name in slowed:
            yield f"slower class: {name}", _in_one(slowed[name]), ""
    yield "capture", _in_one(state.get("capture")), ""
    for name, value in (state.get("kernel") or {}).items():
        yield name.replace("_", " "), spelled(value), style_of(name, value)


def _in_one(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {spelled(each)}" for name, each in value.items())
    return spelled(value)
