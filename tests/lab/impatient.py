# SPDX-License-Identifier: GPL-2.0-or-later
"""`vpngate run` with little patience for its sources, and a tree that can be asked.

Knows which limits of the feed to lower, so that what is slow or endless is found out
in seconds; does not know the sources. All else is the daemon as it is.

    look_up     the registration of each of `addresses` in the tree in force, or null
"""

import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tests.faults.scenes import LIMITS
from tests.lab import by_filters
from vpngate.cli import main
from vpngate.config.sections import RegistrySection
from vpngate.daemon import gateway
from vpngate.feed import FeedSettings
from vpngate.packets import parse_address
from vpngate.supply import offers, registry_keys

# What may be over soon is tried twice.
_IMPATIENT = replace(LIMITS, connect=0.7, idle=0.5, deadline=2.0, attempts=2)

_feed_settings = registry_keys.feed_settings


def _impatient(settings: RegistrySection, where: str) -> FeedSettings:
    return replace(_feed_settings(settings, where), limits=_IMPATIENT)


class _Gateway(gateway.Gateway):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.verbs["look_up"] = self._look_up

    async def _look_up(self, arguments: Mapping[str, Any]) -> dict[str, str | None]:
        snapshot, now = self._in_force.snapshot, self._clock.now()
        found = {
            address: snapshot.lookup(parse_address(address), now)
            for address in arguments["addresses"]
        }
        return {address: each.id if each else None for address, each in found.items()}


if __name__ == "__main__":
    offers.feed_settings = _impatient  # type: ignore[attr-defined]
    gateway.Gateway = _Gateway  # type: ignore[assignment, misc]
    by_filters.as_asked()
    sys.exit(main(["run", *sys.argv[1:]]))
