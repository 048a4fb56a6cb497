# SPDX-License-Identifier: GPL-2.0-or-later
"""Reading what commands are pointed at: a configuration, a registry.

Knows how a file that cannot be read is reported (exit status 2), and how the
registry that a configuration names is found; does not judge what was read.
"""

import os
import stat
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from vpngate.cli import complain
from vpngate.config import Config, parse_config
from vpngate.daemon.supply.memory import read_memory
from vpngate.daemon.supply.registry_keys import (
    feed_settings,
    guard_settings,
    load_limits,
)
from vpngate.errors import (
    InvalidRegistry,
    Problem,
    RegistryRefused,
    UnreadableInput,
    VpngateError,
)
from vpngate.feed import Feed, Fetched, FetchLimits, Store
from vpngate.registry import (
    GuardSettings,
    Limits,
    Loaded,
    Registry,
    carry_over,
    load,
    objections,
    recall_departed,
)
from vpngate.tunnels import all_tunnels

_LARGEST = FetchLimits().published  # bytes of a registry, as a source may deliver it
_LARGEST_TEXT = 2**20  # bytes of a configuration


def read_bytes(path: str, most: int = _LARGEST) -> bytes:
    """A file's content; UnreadableInput if it is none, or has more than `most` bytes.

    What has no end, or waits for a writer, is no file.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise UnreadableInput(
                    Problem(path, "is not a regular file", "check the path")
                )
            content = file.read(most + 1)
    except (OSError, ValueError) as error:
        what = f"cannot be read: {getattr(error, 'strerror', None) or error}"
        raise UnreadableInput(Problem(path, what, "check the path")) from None
    if len(content) > most:
        what = f"has more than {most} bytes"
        raise UnreadableInput(Problem(path, what, "see whether it is the right file"))
    return content


def read_text(path: str) -> str:
    """A text file's content; UnreadableInput if it is none."""
    try:
        return read_bytes(path, _LARGEST_TEXT).decode()
    except UnicodeDecodeError as error:
        problem = Problem(path, f"is not UTF-8 text (byte {error.start})")
        raise UnreadableInput(problem) from None


def known_tunnels() -> list[str]:
    """The names that `[tunnels] enabled` may hold."""
    return [tunnel.name for tunnel in all_tunnels()]


def read_config(path: str) -> Config:
    """The configuration in a file; InvalidConfig or UnreadableInput if it is bad."""
    return parse_config(read_text(path), where=path, known_tunnels=known_tunnels())


def read_registry(path: str, now: float) -> Loaded:
    """The registry in a file; InvalidRegistry or UnreadableInput if it is bad.

    Rejected rows are named on stderr.
    """
    loaded = _load(read_bytes(path), path, Limits(), now)
    name_rejected(loaded, path)
    return loaded


def name_rejected(loaded: Loaded, where: str) -> None:
    """Say on stderr which rows are left out."""
    complain(*(f"{problem}; the row is left out" for problem in loaded.problems))
    if loaded.rejected > len(loaded.problems):
        complain(f"{where}: {loaded.rejected} of {loaded.rows} rows cannot be used")


def insist(
    registry: Registry, where: str, now: float, settings: GuardSettings | None = None
) -> Registry:
    """The registry, unless no daemon would begin with it: then RegistryRefused.

    One of nobody among them: an answer from it would be "no", whoever is asked about.
    What came before is nothing that a single registry tells.
    """
    against = objections(None, registry, settings or GuardSettings(), now)
    if against:
        lines = (f"{where}: {each.problem}" for each in against)
        raise RegistryRefused(against[0].reason.value, "\n".join(lines))
    return registry


def _load(data: bytes, where: str, limits: Limits, now: float) -> Loaded:
    """The registry in `data`, its problems told with the name of where it stands."""
    try:
        loaded = load(data, limits=limits, now=now)
    except InvalidRegistry as error:
        raise InvalidRegistry(_at(where, error.problems)) from None
    return replace(loaded, problems=_at(where, loaded.problems))


def _at(where: str, problems: Iterable[Problem]) -> tuple[Problem, ...]:
    return tuple(replace(each, where=f"{where}: {each.where}") for each in problems)


class Sources:
    """The registry that a configuration names, and the last good one; nothing is kept.

    After `read`, `source` says which source answered, and `faults` why those before
    it did not.
    """

    def __init__(self, config: Config, where: str) -> None:
        registry = config.registry
        self._limits = load_limits(registry)
        self._guard = guard_settings(registry)
        settings = feed_settings(registry, f"{where}: registry")
        self._feed = Feed(settings)
        self._store = Store(Path(registry.state), settings.public_key)
        self.source = ""
        self.faults: tuple[VpngateError, ...] = ()

    def read(self, now: float) -> Loaded:
        """The registry; NoSourceAnswered with what stands against each source."""
        with self._feed.asking() as answers:
            for answer in answers:
                if isinstance(answer, Fetched):
                    try:
                        loaded = _load(answer.data, answer.source, self._limits, now)
                    except Exception as error:  # noqa: BLE001 - of one source
                        answers.refuse(error)
                    else:
                        self.source, self.faults = answer.source, answer.faults
                        return loaded
        raise AssertionError("answers end by a fault")  # pragma: no cover

    def standing(self, now: float) -> tuple[Registry, VpngateError | None]:
        """The registry with those whom only the last good one has, in their grace.

        That is what a daemon makes of both. What keeps the last good one from being
        read, if anything does, is returned with the registry alone.
        """
        loaded = self.read(now)
        name_rejected(loaded, self.source)
        registry = insist(loaded.registry, self.source, now, self._guard)
        try:
            last = self.last_good(now)
        except VpngateError as fault:
            return registry, fault
        if last is None:
            return registry, None
        return carry_over(last, registry, self._limits.grace, now), None

    def last_good(self, now: float) -> Registry | None:
        """What the daemon would fall back to; FeedFault if it cannot be had."""
        kept = self._store.load()
        if kept is None:
            return None
        loaded = _load(kept.data, "the last good registry", self._limits, now)
        return recall_departed(loaded.registry, read_memory(kept.memory).departed)
