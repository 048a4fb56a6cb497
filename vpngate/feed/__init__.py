# SPDX-License-Identifier: GPL-2.0-or-later
"""The only room that fetches and remembers registries.

Knows sources, signatures and the state on disk; does not know what a registry holds:
it hands bytes on. A fetch blocks, so the daemon gives it a thread of its own:

    settings = FeedSettings.parse(sources, public_key)
    store = Store(state, *settings.public_keys)
    last_good = store.load()                                  # at boot
    with Feed(settings).asking(last_good.validators) as answers:
        for answer in answers:                                # leave it with a good one
            ...                                               # or answers.refuse(why)
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
from vpngate.feed.feed import Answers, Feed
from vpngate.feed.minisign import PublicKey
from vpngate.feed.schedule import next_fetch
from vpngate.feed.settings import FeedSettings, FetchLimits, for_messages
from vpngate.feed.state.store import LastGood, Store

__all__ = [
    "INVALID",
    "Answer",
    "Answers",
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
    "for_messages",
    "given_up",
    "next_fetch",
    "reason_of",
]
