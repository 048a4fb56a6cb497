# SPDX-License-Identifier: GPL-2.0-or-later
"""What the keys of `[registry]` say to the feed, to the loader and to the guard.

Knows the section and the three that are told; does not know what they do.
"""

from dataclasses import replace

from vpngate.config.sections import RegistrySection
from vpngate.errors import InvalidConfig, Problem
from vpngate.feed import FeedSettings, FetchLimits
from vpngate.feed.minisign import PublicKey
from vpngate.packets import Family
from vpngate.registry import GuardSettings, Limits
from vpngate.registry.reading.loading import size_of_rows

# What is published stands in memory as a whole; of what it unpacks to a line does.
_PACKED = 4


def guard_settings(settings: RegistrySection) -> GuardSettings:
    """What the guard is told."""
    return GuardSettings(
        min_prefix_length={f: settings.min_prefix_length.of(f) for f in Family},
        max_removed=settings.max_removed,
        max_added=settings.max_added,
        allow_special=settings.allow_special,
        sentinels=tuple(map(str, settings.sentinels)),
    )


def feed_settings(settings: RegistrySection, where: str) -> FeedSettings:
    """What the feed is told; InvalidConfig, naming `where`, if it cannot be."""
    try:
        return FeedSettings.parse(
            settings.sources,
            settings.public_key,
            allow_unsigned=settings.allow_unsigned,
            limits=replace(
                FetchLimits(),
                published=published_size(settings.max_rows),
                expanded=size_of_rows(settings.max_rows),
            ),
        )
    except ValueError as error:
        raise InvalidConfig([Problem(where, str(error))]) from None


def key_ids(settings: RegistrySection) -> tuple[str, ...]:
    """Whose signatures count, as minisign prints the ids of keys."""
    return tuple(PublicKey.parse(key).key_id for key in settings.public_key)


def published_size(max_rows: int) -> int:
    """Bytes that a registry of so many rows may have as it is published."""
    return size_of_rows(max_rows) // _PACKED


def load_limits(settings: RegistrySection) -> Limits:
    """How much of a registry is taken, and its grace."""
    return Limits(
        max_rows=settings.max_rows,
        max_rejected=settings.max_rejected,
        grace=settings.removal_grace,
    )
