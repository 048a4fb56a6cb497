# SPDX-License-Identifier: GPL-2.0-or-later
"""Each reason to halt has words wherever somebody may read of it."""

import pytest

from tests.house import ROOT
from vpngate.daemon.halting.halts import NEXT
from vpngate.public.wording import HALTS
from vpngate.stance import HaltReason

PAGE = (ROOT / "docs" / "operating.md").read_text()
SCHEMA = (ROOT / "docs" / "report.schema.json").read_text()


@pytest.mark.parametrize("reason", HaltReason)
def test_it_is_told_everywhere(reason: HaltReason) -> None:
    assert NEXT[reason]
    assert HALTS[reason.value]
    assert f"| `{reason.value}` |" in PAGE
    assert SCHEMA.count(f'"{reason.value}"') >= 2, "why it halted, and how often"
