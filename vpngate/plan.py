# SPDX-License-Identifier: GPL-2.0-or-later
"""From one ruleset to another: what has to change in the kernel.

Knows which part of the data plane each part of a ruleset lives in; does not know
netlink, nor the verdicts that the kernel holds.
"""

from dataclasses import dataclass

from vpngate.prefixes.intervals import Delta
from vpngate.ruleset import Ruleset

# With more intervals that come and go, filling all sets anew is quicker.
LARGEST_DELTA = 50_000

# What rules and hooks are made of. Changing it replaces all rules in one transaction;
# sets, and with them verdicts, stay.
_IN_RULES = (
    "interfaces",
    "subscriber_side",
    "hook_priority",
    "enforce",
    "signatures",
    "nflog_group",
    "packets_per_second",
    "reverse_path",
)
# What is made once.
_FIXED = ("table",)


@dataclass(frozen=True)
class Plan:
    """The steps from one ruleset to another.

    spared            intervals that the sets of spared addresses gain and lose
    swap              whether these are so many that new sets are filled beside the
                      old ones, and rules turned to them at the end
    rules             whether the rules are replaced, but for those that ask spared sets
    build, dismantle  whether the ifb is to be made, or taken away
    end_verdicts      whether all verdicts end: nothing would act on them any more,
                      or not on the same packets
    """

    spared: Delta
    swap: bool
    rules: bool
    build: bool
    dismantle: bool
    end_verdicts: bool


def plan(old: Ruleset, new: Ruleset) -> Plan:
    """What turns `old` into `new`; ValueError if only a restart can."""
    for name in _FIXED:
        if getattr(old, name) != getattr(new, name):
            raise ValueError(f"{name} cannot change while the daemon runs")
    spared = old.spared.delta(new.spared)
    swap = len(spared.added) + len(spared.removed) > LARGEST_DELTA
    return Plan(
        spared=spared,
        swap=swap,
        rules=any(getattr(old, n) != getattr(new, n) for n in _IN_RULES),
        build=new.enforce and not old.enforce,
        dismantle=old.enforce and not new.enforce,
        end_verdicts=(old.enforce and not new.enforce)
        or old.subscriber_side != new.subscriber_side,
    )
