# SPDX-License-Identifier: GPL-2.0-or-later
"""What a preview is asked about: a share, another registry, another configuration.

Knows how they are handed over, and takes nothing on trust; does not know what would
come of them. Of a registry only whom it spares is handed over, merged: a few megabytes
that are checked at once, where the registry itself would have to be read once more.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vpngate.config import Config
from vpngate.daemon.outside.closing import close_soon
from vpngate.daemon.outside.handed_over import content_of
from vpngate.errors import Problem, WrongUse
from vpngate.prefixes.intervals import Intervals
from vpngate.prefixes.packed import size_of, unpack

_NAMES = {"share", "registry", "config"}
_LARGEST_TEXT = 2**20  # bytes
_PERCENT = range(101)
_CONFIG = "the configuration that was handed over"
_REGISTRY = "the registry that was handed over"


@dataclass(frozen=True)
class Proposal:
    """What would be acted on; None where it is what is in force.

    share   of the subscribers, 0 to 1
    spared  whom another registry spares
    config  another configuration
    """

    share: float | None = None
    spared: Intervals | None = None
    config: Config | None = None


@dataclass(frozen=True)
class Asked:
    """A request whose form is right, and the descriptors that came with it."""

    share: float | None
    registry: bool
    config: bool
    files: tuple[int, ...]

    @classmethod
    def of(cls, arguments: Mapping[str, Any], files: Sequence[int]) -> "Asked":
        """What the arguments ask for; WrongUse if they are none of ours."""
        for name in arguments:
            if name not in _NAMES:
                raise WrongUse(Problem(repr(name), "is no argument of this verb"))
        share = arguments.get("share")
        if share is not None and (type(share) is not int or share not in _PERCENT):
            raise WrongUse(Problem("share", "is no whole number from 0 to 100"))
        wanted = [arguments.get(name, False) for name in ("registry", "config")]
        if any(type(each) is not bool for each in wanted):
            raise WrongUse(Problem("registry, config", "is neither true nor false"))
        if len(files) != sum(wanted):
            raise WrongUse(Problem("preview", "was not handed what it is to be about"))
        percent = None if share is None else share / 100
        registry, config = wanted
        return cls(percent, registry, config, tuple(files))

    @property
    def is_about_another(self) -> bool:
        """Whether the caller chose what is to be compared with what is in force."""
        return self.registry or self.config

    def copies(self) -> list[int]:
        """Copies of the descriptors, for `read`.

        Whoever waits for it may be gone, and the originals with him.
        """
        return list(map(os.dup, self.files))

    def read(
        self,
        copies: list[int],
        most_intervals: int,
        parse: Callable[[str, str], Config],
    ) -> Proposal:
        """What is proposed; in a thread. The copies are closed.

        `parse` makes a configuration of a text, and is told where it stands. Raises
        WrongUse for what is none of the form, InvalidConfig for what is wrong in it.
        """
        try:
            files = iter(copies)
            spared = config = None
            if self.registry:
                data = content_of(next(files), size_of(most_intervals), _REGISTRY)
                spared = _unpacked(data)
            if self.config:
                text = content_of(next(files), _LARGEST_TEXT, _CONFIG)
                config = parse(_decoded(text), _CONFIG)
            return Proposal(self.share, spared, config)
        finally:
            close_soon(copies)


def _unpacked(data: bytearray) -> Intervals:
    try:
        return unpack(data)
    except ValueError as error:
        raise WrongUse(Problem(_REGISTRY, str(error))) from None


def _decoded(text: bytearray) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError:
        raise WrongUse(Problem(_CONFIG, "is not UTF-8 text")) from None
