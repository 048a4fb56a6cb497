# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether a registry may take the place of another.

Knows the mistakes that would slow many registered people in a second, and which of
them a person may overrule; does not know how a registry was read, or what happens
to it next.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from vpngate.errors import Problem, RegistryRefused
from vpngate.packets import Family
from vpngate.registry.departures import in_force_count, removed_count
from vpngate.registry.intervals import Intervals
from vpngate.registry.moments import Span, When, format_moment, span_of
from vpngate.registry.snapshot import Registry


class Reason(StrEnum):
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

    @property
    def overridable(self) -> bool:
        """Whether a person may accept it. The others have to be mended."""
        return self not in _FINAL


_FINAL = {
    Reason.EXPIRED,
    Reason.DEFAULT_ROUTE,
    Reason.PREFIX_TOO_SHORT,
    Reason.SERIAL_REUSED,
}


@dataclass(frozen=True, slots=True)
class GuardSettings:
    """What the guard insists on; the keys of `[registry]` of the same names.

    min_prefix_length  the shortest prefix taken, by family
    max_removed        share (0 to 1) of prefixes that may go in one load
    sentinels          prefixes that must be registered
    """

    min_prefix_length: Mapping[Family, int] = field(
        default_factory=lambda: {Family.IPV4: 8, Family.IPV6: 19}
    )
    max_removed: float = 0.05
    sentinels: tuple[str, ...] = ()


class Objection(NamedTuple):
    """One reason against a registry, and the words for it."""

    reason: Reason
    problem: Problem


def guard(
    old: Registry | None,
    new: Registry,
    settings: GuardSettings,
    now: When,
    accept_removals: bool = False,  # noqa: FBT001, FBT002  # the person's word
) -> None:
    """Raises RegistryRefused with the first objection that nobody overrules.

    Without an old registry there is nothing to compare with. `accept_removals`
    overrules what a person may: see `Reason.overridable`.
    """
    for reason, problem in objections(old, new, settings, now):
        if not (accept_removals and reason.overridable):
            raise RegistryRefused(reason.value, problem)


def objections(
    old: Registry | None, new: Registry, settings: GuardSettings, now: When
) -> tuple[Objection, ...]:
    """Everything that speaks against a registry, what nobody may overrule first."""
    span = span_of(now)
    found = [
        *_against_envelope(new, span),
        *_against_prefixes(new, settings),
        *_against_content(new, settings, span),
    ]
    if old is not None:
        found += _against_serial(old, new)
        found += _against_removals(old, new, settings, span)
    return tuple(sorted(found, key=lambda each: each.reason.overridable))


def _against_envelope(new: Registry, span: Span) -> Iterator[Objection]:
    if new.expires is not None and new.expires <= span.earliest:
        yield _objection(
            Reason.EXPIRED,
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
            what, reason = "is a default route", Reason.DEFAULT_ROUTE
        else:
            what = f"is shorter than /{shortest}, the least for {family.label}"
            reason = Reason.PREFIX_TOO_SHORT
        yield Objection(reason, Problem(where + others, what, "take it out"))


def _against_content(
    new: Registry, settings: GuardSettings, span: Span
) -> Iterator[Objection]:
    in_force = new.in_force(span)
    if not len(in_force):
        yield _objection(
            Reason.EMPTY,
            "has no registration in force",
            "check that this is the right file; `--accept-removals` takes it as it is",
        )
    for sentinel in dict.fromkeys([*settings.sentinels, *new.sentinels]):
        wanted = Intervals.of_prefixes([sentinel])
        if len(wanted.difference(in_force)):
            yield Objection(
                Reason.SENTINEL_MISSING,
                Problem(
                    f"sentinel {sentinel}",
                    "is not registered: the registry may be cut short",
                    "fetch it again; `--accept-removals` takes it as it is",
                ),
            )


def _against_serial(old: Registry, new: Registry) -> Iterator[Objection]:
    if old.name is not None and new.name != old.name:
        yield _objection(
            Reason.OTHER_REGISTRY,
            f"is {new.name!r}, until now it was {old.name!r}",
            "check the source; `--accept-removals` takes the other one",
        )
    elif old.serial is None:
        return
    elif new.serial is None:
        yield _objection(
            Reason.SERIAL_MISSING,
            f"has no serial, until now it was {old.serial}",
            "check the source; `--accept-removals` goes on without",
        )
    elif new.serial < old.serial:
        yield _objection(
            Reason.SERIAL_OLDER,
            f"has serial {new.serial}, older than {old.serial}",
            "fetch it again; `--accept-removals` goes back to it",
        )
    elif new.serial == old.serial and new.digest != old.digest:
        yield _objection(
            Reason.SERIAL_REUSED,
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
            Reason.REMOVED_TOO_MANY,
            f"lacks {gone} of {before} prefixes in force until now "
            f"({gone / before:.1%}, at most {settings.max_removed:.1%} may go at once)",
            "compare them with `vpngate diff`; `--accept-removals` lets them go",
        )


def _objection(reason: Reason, what: str, remedy: str) -> Objection:
    return Objection(reason, Problem("registry", what, remedy))
