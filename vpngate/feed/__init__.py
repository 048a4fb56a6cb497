# SPDX-License-Identifier: GPL-2.0-or-later
"""The only room that fetches and remembers registries.

Knows sources, signatures and the state on disk; does not know what a registry holds:
it hands bytes on. A fetch blocks, so the daemon gives it a thread of its own:

    settings = FeedSettings.parse(sources, public_key)
    store = Store(state, settings.public_key)
    last_good = store.load()                                  # at boot
    answer = Feed(settings).fetch(last_good.validators, examine=parse_and_guard)
    if isinstance(answer, Fetched):
        store.save(LastGood(answer.data, answer.signature, answer.validators, memory))
"""

from vpngate.feed.answer import Answer, Fetched, NotModified, Validators
from vpngate.feed.faults import (
    INVALID,
    NoSourceAnswered,
    Reason,
    given_up,
    reason_of,
)
from vpngate.feed.feed import Feed
from vpngate.feed.minisign import PublicKey
from vpngate.feed.schedule import next_fetch
from vpngate.feed.settings import FeedSettings, FetchLimits
from vpngate.feed.state.store import LastGood, Store

__all__ = [
    "INVALID",
    "Answer",
    "Feed",
    "FeedSettings",
    "FetchLimits",
    "Fetched",
    "LastGood",
    "NoSourceAnswered",
    "NotModified",
    "PublicKey",
    "Reason",
    "Store",
    "Validators",
    "given_up",
    "next_fetch",
    "reason_of",
]
