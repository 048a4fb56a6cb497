# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands, as a run over the eBPF plane needs them.

Without the one rule that refuses that plane as yet, which is to go when the rule goes;
and with programs that stand by filters if a run asks for that. Everything else is as it
is for users.

usage: tests/lab/vpngate-lifted COMMAND ...
"""

import sys

from tests.planes import BY_FILTERS, PLANE
from vpngate.cli import main
from vpngate.config import Plane, parsing, rules
from vpngate.kernel.bpf_steps import BpfSteps
from vpngate.kernel.programmed.attachments.by_filters import ByFilters

_REFUSING = ("gateway.plane",)


def lift() -> None:
    """For this process."""
    if PLANE is Plane.EBPF:
        left = tuple(rule for rule in rules.RULES if rule.keys != _REFUSING)
        parsing.RULES = rules.RULES = left  # type: ignore[attr-defined,assignment]
    if BY_FILTERS:
        BpfSteps.__init__.__defaults__ = (ByFilters,)


if __name__ == "__main__":
    lift()
    sys.exit(main())
