# SPDX-License-Identifier: GPL-2.0-or-later
"""What a running daemon found when it compared the kernel with what should be there.

Knows the daemon's answer to `compare` (`daemon/wellbeing/health.py`) and what follows
from it; does not know how it was asked.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from vpngate.doctor.findings import Finding, Weight

# A million intervals take half a minute, on a busy gateway longer.
PATIENCE = 600.0  # seconds for the answer

_MENDED = "it has been put right"
_NOT_MENDED = "it could not be put right; see the daemon's log"


def judge_comparison(answer: Mapping[str, Any]) -> Iterator[Finding]:
    """A finding for each family of the registered set."""
    mended = _MENDED if answer["in_sync"] else _NOT_MENDED
    for family, compared in answer["compared"].items():
        where = f"kernel: spared {family}"
        differing, surplus = answer["differing"][family], answer["surplus"][family]
        if differing:
            what = f"{differing} of {compared} intervals were not what they should be"
            cost = "registered addresses could have been slowed"
            yield Finding(Weight.CONFLICT, where, what, cost, mended)
        elif surplus:
            what = f"{surplus} intervals too many"
            cost = "tunnels of others could have been left alone"
            yield Finding(Weight.CONFLICT, where, what, cost, mended)
        else:
            what = f"{compared} intervals, each as it should be"
            if surplus is None:
                what += "; whether there are more this kernel (before 6.16) cannot tell"
            yield Finding(Weight.SOUND, where, what)
