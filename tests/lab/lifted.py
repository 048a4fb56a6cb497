# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands, without the one rule that refuses the eBPF plane as yet.

Knows which rule that is, and lifts it only in a run over that plane; everything else is
as it is for users. To go when the rule goes.

usage: tests/lab/vpngate-lifted COMMAND ...
"""

import sys

from tests.planes import PLANE
from vpngate.cli import main
from vpngate.config import Plane, parsing, rules

_REFUSING = ("gateway.plane",)


def lift() -> None:
    """For this process."""
    if PLANE is Plane.EBPF:
        left = tuple(rule for rule in rules.RULES if rule.keys != _REFUSING)
        parsing.RULES = rules.RULES = left  # type: ignore[attr-defined,assignment]


if __name__ == "__main__":
    lift()
    sys.exit(main())
