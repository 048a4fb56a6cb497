# SPDX-License-Identifier: GPL-2.0-or-later
"""A registry's bytes read, and what speaks against it told with where it stands.

Knows how each problem names its source or file; does not know where the bytes came
from, nor who is told.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from vpngate.errors import InvalidRegistry, Problem, RegistryRefused
from vpngate.expansion import look_at_nothing
from vpngate.registry import (
    GuardSettings,
    Limits,
    Loaded,
    Registry,
    load,
    objections,
)
from vpngate.timekeeping.moments import When


def read(
    data: bytes,
    where: str,
    limits: Limits,
    now: float,
    look: Callable[[], None] = look_at_nothing,
) -> Loaded:
    """The registry in `data`, as published; InvalidRegistry if there is none.

    `where` it stands is told with each problem; `now`, in seconds since 1970, is when
    it was loaded; `look` is called again and again, and ends it by what it raises.
    """
    try:
        loaded = load(data, limits=limits, now=now, look=look)
    except InvalidRegistry as error:
        raise InvalidRegistry(_at(where, error.problems)) from None
    return replace(loaded, problems=_at(where, loaded.problems))


def left_out(loaded: Loaded) -> Iterator[str]:
    """A line for each bad row that is told one by one."""
    return (f"{problem}; the row is left out" for problem in loaded.problems)


def insist(
    registry: Registry, where: str, now: When, settings: GuardSettings | None = None
) -> Registry:
    """The registry, unless no daemon would begin with it: then RegistryRefused.

    Everything that speaks against it is told. One of nobody is refused, too: an answer
    from it would be "no", whoever is asked about. What came before is nothing that a
    single registry tells.
    """
    against = objections(None, registry, settings or GuardSettings(), now)
    if against:
        lines = (f"{where}: {each.problem}" for each in against)
        raise RegistryRefused(against[0].reason.value, "\n".join(lines))
    return registry


def _at(where: str, problems: Iterable[Problem]) -> tuple[Problem, ...]:
    return tuple(replace(each, where=f"{where}: {each.where}") for each in problems)
