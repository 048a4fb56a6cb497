# SPDX-License-Identifier: GPL-2.0-or-later
"""`vpngate run` as it is attacked: two more verbs, and less patience.

Knows what would take minutes in a daemon as shipped and has to be over in seconds: the
look at the kernel, and the wait for a source. All else is the daemon as it is.

    lose_spared  the spared interval around an address goes, in the kernel alone
    verify       the comparison with the kernel
"""

import sys
from dataclasses import replace
from functools import partial
from typing import Any

from tests.lab import by_filters, harness
from vpngate.cli import main
from vpngate.config.sections import RegistrySection
from vpngate.daemon import gateway
from vpngate.feed import FeedSettings
from vpngate.feed.settings import FetchLimits
from vpngate.supply import offers, registry_keys

_VERIFY_EVERY = 5.0  # seconds
_LIMITS = replace(FetchLimits(), connect=2.0, idle=1.5, deadline=3.0, attempts=1)

_feed_settings = registry_keys.feed_settings


def _impatient(settings: RegistrySection, where: str) -> FeedSettings:
    return replace(_feed_settings(settings, where), limits=_LIMITS)


class _Gateway(gateway.Gateway):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.verbs["lose_spared"] = partial(harness._lose_spared, self)
        self.verbs["verify"] = partial(harness._verify, self)


if __name__ == "__main__":
    offers.feed_settings = _impatient  # type: ignore[attr-defined]
    gateway.VERIFY_EVERY = _VERIFY_EVERY
    gateway.Gateway = _Gateway  # type: ignore[assignment, misc]
    by_filters.as_asked()
    sys.exit(main(["run", *sys.argv[1:]]))
