# SPDX-License-Identifier: GPL-2.0-or-later
"""Asks a feed as one does who takes whatever answer comes first."""

from collections.abc import Callable

from vpngate.feed import Answer, Feed, Validators


def take_any(_: Answer) -> None:
    """Nothing stands against it."""


def ask(
    feed: Feed,
    previous: Validators | None = None,
    examine: Callable[[Answer], None] = take_any,
) -> Answer:
    """The first answer that `examine` raises nothing against."""
    with feed.asking(previous) as answers:
        for answer in answers:
            try:
                examine(answer)
            except Exception as error:  # noqa: BLE001 - the feed has to bear it
                answers.refuse(error)
            else:
                return answer
    raise AssertionError("answers end by a fault")
