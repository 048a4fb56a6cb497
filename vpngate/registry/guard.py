# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether a registry may take the place of another.

Knows the mistakes that would slow many registered people in a second, and which of
them a person may overrule; does not know how a registry was read, or what happens
to it next.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from vpngate.errors import Problem, RegistryRefused
from vpngate.packets import Family
from vpngate.prefixes.intervals import Intervals
from vpngate.registry.grace.departures import in_force_count, removed_count
from vpngate.registry.registry import Registry
from vpngate.timekeeping.moments import Span, When, format_moment, span_of


class Accept(StrEnum):
    """What a person may accept for one load; each value lets one objection pass."""

    REMOVALS = "removals"
    ADDITIONS = "additions"
    OLDER = "older"  # a serial or a signature, or another registry altogether


class Refusal(StrEnum):
    """Why a registry is refused; the label of a metric."""

    EMPTY = "empty"
    EXPIRED = "expired"
    DEFAULT_ROUTE = "default_route"
    PREFIX_TOO_SHORT = "prefix_too_short"
    SENTINEL_MISSING = "sentinel_missing"
    OTHER_REGISTRY = "other_registry"
    SERIAL_OLDER = "serial_older"
    SERIAL_MISSING = "serial_missing"
    SERIAL_REUSED = "serial_reused"
    REMOVED_TOO_MANY = "removed_too_many"
    ADDED_TOO_MANY = "added_too_many"
    SPECIAL_RANGE = "special_range"

    @property
    def accept(self) -> Accept | None:
        """The word by which a person accepts it; None if the registry must change."""
        return _ACCEPTED.get(self)

    @property
    def overridable(self) -> bool:
        """Whether a person may accept it; if not, the registry itself has to change."""
        return self in _ACCEPTED


_ACCEPTED = {
    Refusal.EMPTY: Accept.REMOVALS,
    Refusal.SENTINEL_MISSING: Accept.REMOVALS,
    Refusal.REMOVED_TOO_MANY: Accept.REMOVALS,
    Refusal.ADDED_TOO_MANY: Accept.ADDITIONS,
    Refusal.OTHER_REGISTRY: Accept.OLDER,
    Refusal.SERIAL_OLDER: Accept.OLDER,
    Refusal.SERIAL_MISSING: Accept.OLDER,
}

# Nobody's VPN server is there (RFC 6890, and the registries that it began).
_SPECIAL = Intervals.of_prefixes(
    [
        *("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "100.64.0.0/10"),
        *("224.0.0.0/4", "240.0.0.0/4"),
        *("::/128", "::1/128", "fe80::/10", "ff00::/8"),
    ]
)
_SHORT = 8  # bits; what is shorter is no range of anybody's
# So many addresses more are one usual allocation, whatever share of a small registry
# they are: an IPv4 /16, an IPv6 /32.
_ALLOCATION = {Family.IPV4: 2**16, Family.IPV6: 2**96}


@dataclass(frozen=True, slots=True)
class GuardSettings:
    """What the guard insists on; the keys of `[registry]` of the same names.

    min_prefix_length  the shortest prefix taken, by family
    max_removed        share (0 to 1) of prefixes that may go in one load
    max_added          share of the addresses covered that may come in one load
    allow_special      take ranges in which nobody's VPN server is
    sentinels          prefixes that must be registered
    """

    min_prefix_length: Mapping[Family, int] = field(
        default_factory=lambda: {Family.IPV4: 8, Family.IPV6: 19}
    )
    max_removed: float = 0.05
    max_added: float = 0.5
    allow_special: bool = False
    sentinels: tuple[str, ...] = ()


class Objection(NamedTuple):
    """One reason against a registry, and the words for it."""

    reason: Refusal
    problem: Problem


def guard(
    old: Registry | None,
    new: Registry,
    settings: GuardSettings,
    now: When,
    accept: Collection[Accept] = (),
) -> None:
    """Raises RegistryRefused with the first objection that nobody overrules.

    Without an old registry there is nothing to compare with. `accept` is a person's
    word: what of `Refusal.accept` is let pass.
    """
    for reason, problem in objections(old, new, settings, now):
        if reason.accept not in accept:
            raise RegistryRefused(reason.value, problem)


def objections(
    old: Registry | None, new: Registry, settings: GuardSettings, now: When
) -> tuple[Objection, ...]:
    """Returns every objection to a registry; those nobody can overrule come first."""
    span = span_of(now)
    found = [
        *_against_envelope(new, span),
        *_against_prefixes(new, settings),
        *_against_special(new, settings),
        *_against_content(new, settings, span),
    ]
    if old is not None:
        found += _against_serial(old, new)
        found += _against_removals(old, new, settings, span)
        found += _against_additions(old, new, settings, span)
    return tuple(sorted(found, key=lambda each: each.reason.overridable))


def _against_envelope(new: Registry, span: Span) -> Iterator[Objection]:
    if new.expires is not None and new.expires <= span.earliest:
        yield _objection(
            Refusal.EXPIRED,
            f"expired at {format_moment(new.expires)}",
            "publish a fresh one, or check this machine's clock",
        )


def _against_prefixes(new: Registry, settings: GuardSettings) -> Iterator[Objection]:
    for entries in new.current:
        family = entries.family
        shortest = settings.min_prefix_length.get(family, 0)
        short = np.flatnonzero(entries.tree.lengths < max(shortest, 1))
        if not len(short):
            continue
        row = int(short[0])
        where = f"{entries.prefix(row)} as {entries.id(row)}"
        others = f" and {len(short) - 1} more" if len(short) > 1 else ""
        if entries.prefix(row).length == 0:
            what, reason = "is a default route", Refusal.DEFAULT_ROUTE
        else:
            what = f"is shorter than /{shortest}, the least for {family.label}"
            reason = Refusal.PREFIX_TOO_SHORT
        yield Objection(reason, Problem(where + others, what, "take it out"))


def _against_special(new: Registry, settings: GuardSettings) -> Iterator[Objection]:
    if settings.allow_special:
        return
    for entries in new.current:
        shortest = settings.min_prefix_length.get(entries.family, _SHORT)
        meets = _SPECIAL.meets_each(entries.bounds)
        # What is too short by itself lies around everything.
        there = np.flatnonzero(meets & (entries.tree.lengths >= max(shortest, _SHORT)))
        if len(there):
            row = int(there[0])
            where = f"{entries.prefix(row)} as {entries.id(row)}"
            others = f" and {len(there) - 1} more" if len(there) > 1 else ""
            what = "is in a range that no VPN server is in"
            remedy = "take it out, or state allow_special = true"
            yield Objection(
                Refusal.SPECIAL_RANGE, Problem(where + others, what, remedy)
            )


def _against_content(
    new: Registry, settings: GuardSettings, span: Span
) -> Iterator[Objection]:
    in_force = new.in_force(span)
    if not len(in_force):
        yield _objection(
            Refusal.EMPTY,
            "has no registration in force",
            "check that this is the right file; "
            "`vpngate reload --accept-removals` takes it as it is",
        )
    for sentinel in dict.fromkeys([*settings.sentinels, *new.sentinels]):
        wanted = Intervals.of_prefixes([sentinel])
        if len(wanted.difference(in_force)):
            yield Objection(
                Refusal.SENTINEL_MISSING,
                Problem(
                    f"sentinel {sentinel}",
                    "is not registered: the registry may be cut short",
                    "fetch it again; `--accept-removals` takes it as it is",
                ),
            )


def _against_serial(old: Registry, new: Registry) -> Iterator[Objection]:
    if old.name is not None and new.name != old.name:
        yield _objection(
            Refusal.OTHER_REGISTRY,
            f"is {new.name!r}, until now it was {old.name!r}",
            "check the source; `--accept-older` takes the other one",
        )
    elif old.serial is None:
        return
    elif new.serial is None:
        yield _objection(
            Refusal.SERIAL_MISSING,
            f"has no serial, until now it was {old.serial}",
            "check the source; `--accept-older` goes on without",
        )
    elif new.serial < old.serial:
        yield _objection(
            Refusal.SERIAL_OLDER,
            f"has serial {new.serial}, older than {old.serial}",
            "fetch it again; `--accept-older` goes back to it",
        )
    elif new.serial == old.serial and new.digest != old.digest:
        yield _objection(
            Refusal.SERIAL_REUSED,
            f"has serial {new.serial} like the one in use, and other content",
            "publish it with a higher serial",
        )


def _against_removals(
    old: Registry, new: Registry, settings: GuardSettings, span: Span
) -> Iterator[Objection]:
    before = in_force_count(old, span)
    gone = removed_count(old, new, span)
    if gone > settings.max_removed * before:
        yield _objection(
            Refusal.REMOVED_TOO_MANY,
            f"lacks {gone} of {before} prefixes in force until now "
            f"({gone / before:.1%}, at most {settings.max_removed:.1%} may go at once)",
            "compare them with `vpngate diff`; `--accept-removals` lets them go",
        )


def _against_additions(
    old: Registry, new: Registry, settings: GuardSettings, span: Span
) -> Iterator[Objection]:
    covered = old.covered(span)
    gained = new.in_force(span).difference(covered).addresses
    before = covered.addresses
    if not any(before.values()):
        return  # the first that says anything
    for family, more in gained.items():
        if more > max(settings.max_added * before[family], _ALLOCATION[family]):
            yield _objection(
                Refusal.ADDED_TOO_MANY,
                f"covers {_power(more)} {family.label} addresses more than the "
                f"{_power(before[family])} until now (at most "
                f"{settings.max_added:.0%} may come at once)",
                "compare them with `vpngate diff`; `--accept-additions` takes them",
            )


def _power(count: int) -> str:
    """Returns a number of addresses as text; large ones as a power of two."""
    return str(count) if count < 2**40 else f"2^{count.bit_length() - 1}"


def _objection(reason: Refusal, what: str, remedy: str) -> Objection:
    return Objection(reason, Problem("registry", what, remedy))
