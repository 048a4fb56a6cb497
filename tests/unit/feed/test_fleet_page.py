# SPDX-License-Identifier: GPL-2.0-or-later
"""The page for operators of a fleet says what the code does."""

import re
from pathlib import Path

from vpngate.feed import FetchLimits, Reason, reason_of

PAGE = (Path(__file__).parents[3] / "docs" / "fleet.md").read_text()


def test_every_reason_is_explained() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| `")]
    explained = [
        name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])
    ]
    assert sorted(explained) == sorted([*Reason, reason_of(None)])


def test_limits_are_those_of_the_code() -> None:
    limits = FetchLimits()
    sizes = limits.published // 10**6, limits.expanded // 10**6
    assert f"{sizes[0]} MB as published, {sizes[1]} MB unpacked" in PAGE
    assert f"no connection in {limits.connect:.0f} s" in PAGE
    assert f"no byte for {limits.idle:.0f} s" in PAGE
    assert f"complete in {limits.deadline / 60:.0f} minutes" in PAGE
