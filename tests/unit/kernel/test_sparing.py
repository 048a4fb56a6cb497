# SPDX-License-Identifier: GPL-2.0-or-later
"""What goes wrong again and again is counted, and not told again and again."""

from types import SimpleNamespace
from typing import cast

import pytest

from vpngate.errors import KernelRefused
from vpngate.kernel.lanes import Lanes
from vpngate.kernel.sparing import Complaint, Sparing, tell
from vpngate.kernel.steps import Steps


def test_a_row_of_disagreements_is_seen_also_when_it_is_over() -> None:
    """Who looks every second may come after the look that put an end to it."""
    sparing = Sparing(cast("Lanes", SimpleNamespace(do=None)), cast("Steps", None))
    seen = []
    for agrees in (True, False, False, True, True, False, True):
        sparing.note(agrees=agrees)
        seen.append((sparing.differed, sparing.disagreements))
    assert seen == [(0, 0), (1, 1), (2, 2), (2, 2), (2, 2), (3, 1), (3, 1)]


def test_a_failure_is_told_once_until_it_is_another_or_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    complaint = Complaint("cannot look")
    for _ in range(3):
        complaint.tell(KernelRefused("no room"))
    complaint.tell(KernelRefused("no answer"))
    complaint.tell(KernelRefused("no room"))
    complaint.over()
    complaint.tell(KernelRefused("no room"))
    assert caplog.messages == [
        f"cannot look: {what}"
        for what in ("no room", "no answer", "no room", "no room")
    ]


def test_what_was_not_thought_of_is_told_by_its_place(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its text may be a flow."""
    try:
        dict[object, object]()[bytes([203, 0, 113, 7])]
    except KeyError as error:
        tell("cannot look", error)
    assert caplog.messages[0].startswith("cannot look: KeyError at ")
    assert "test_sparing.py:" in caplog.messages[0]
    assert caplog.records[0].exc_info is None
    assert "\\x" not in caplog.text
