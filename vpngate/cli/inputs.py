# SPDX-License-Identifier: GPL-2.0-or-later
"""Reading what commands are pointed at: a configuration, a registry.

Knows how a file that cannot be read is reported (exit status 2), and what is said on
stderr of a registry's rows; does not judge what was read.
"""

import os
import stat

from vpngate.cli import complain
from vpngate.config import Config, parse_config
from vpngate.errors import (
    InvalidRegistry,
    Problem,
    RegistryRefused,
    UnreadableInput,
    VpngateError,
)
from vpngate.feed import FetchLimits
from vpngate.registry import Limits, Loaded, Registry
from vpngate.supply.offers import Supply
from vpngate.supply.reading import left_out, read
from vpngate.tunnels import all_tunnels

_LARGEST = FetchLimits().published  # bytes of a registry, as a source may deliver it
LARGEST_TEXT = 2**20  # bytes of a configuration


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
        return read_bytes(path, LARGEST_TEXT).decode()
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
    loaded = read(read_bytes(path), path, Limits(), now)
    name_rejected(loaded, path)
    return loaded


def name_rejected(loaded: Loaded, where: str) -> None:
    """Say on stderr which rows are left out."""
    complain(*left_out(loaded))
    if loaded.rejected > len(loaded.problems):
        complain(f"{where}: {loaded.rejected} of {loaded.rows} rows cannot be used")


def supply_of(config: Config, where: str, now: float) -> Supply:
    """What supplies the registry that a configuration, read from `where`, names."""
    return Supply(config.registry, lambda: now, f"{where}: registry")


def standing(
    config: Config, where: str, now: float
) -> tuple[Registry, VpngateError | None]:
    """The registry with those whom only the last good one has, in their grace.

    That is what a daemon makes of both. What keeps the last good one from being read,
    if anything does, is returned with the registry alone. NoSourceAnswered with what
    stands against each source if there is no registry to be had.
    """
    supply = supply_of(config, where, now)
    registry = _begun_with(supply)
    try:
        last = last_good(supply)
    except VpngateError as fault:
        return registry, fault
    if last is None:
        return registry, None
    return supply.carry_over(last, registry), None


def last_good(supply: Supply) -> Registry | None:
    """What the daemon would fall back to; VpngateError if it cannot be had."""
    try:
        kept = supply.last_good()
        return None if kept is None else kept.recalled()
    except (ValueError, TypeError, ArithmeticError) as fault:
        what = f"what is remembered beside it is no use: {fault}"
        raise InvalidRegistry([Problem("the last good registry", what)]) from None


def _begun_with(supply: Supply) -> Registry:
    """The first registry of a source that a daemon would begin with."""
    passed_over: list[str] = []
    with supply.offers() as offers:
        for offer in offers.registries():
            name_rejected(offer.loaded, offer.source)
            try:
                registry = supply.insist(offer)
            except RegistryRefused as refused:
                passed_over += refused.lines
                offers.refuse(refused)
            else:
                complain(*(f"warning: {line}" for line in passed_over))
                return registry
    raise AssertionError("offers end by a fault")  # pragma: no cover
