# SPDX-License-Identifier: GPL-2.0-or-later
"""All faults there are, by name.

Knows the families; their order here is the schedule's, which another would change.
"""

from tests.campaign.families import (
    clocks,
    floods,
    links,
    processes,
    programs,
    registries,
    reloads,
    rivals,
    shortages,
    stances,
)
from tests.campaign.fault import Fault

FAULTS: tuple[Fault, ...] = (
    *processes.FAULTS,
    *reloads.FAULTS,
    *links.FAULTS,
    *rivals.FAULTS,
    *registries.FAULTS,
    *clocks.FAULTS,
    *floods.FAULTS,
    *shortages.FAULTS,
    *stances.FAULTS,
    *programs.FAULTS,
)
BY_NAME = {fault.name: fault for fault in FAULTS}
