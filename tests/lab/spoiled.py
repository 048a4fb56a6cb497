# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs that spare others than they should, as after a fault in the kernel.

Knows how to put them in the place of sound ones behind the data plane's back; does not
know what is to be seen of it. In the kernel's thread.
"""

import struct
import time
from dataclasses import replace

from vpngate.kernel.bpf import programs
from vpngate.kernel.bpf.code.stages import throttling
from vpngate.kernel.bpf.maps import index
from vpngate.kernel.bpf.plane_maps import Stage, stage_at
from vpngate.kernel.bpf.spared_arrays import Few, SparedArrays
from vpngate.kernel.bpf_steps import BpfSteps
from vpngate.kernel.programmed.made_ahead import stands
from vpngate.kernel.programmed.programmed_table import TURN
from vpngate.kernel.programmed.spared_in_force import SparedInForce
from vpngate.prefixes.intervals import Intervals


def lose_from(steps: BpfSteps, lost: Intervals) -> None:
    """Have all stages, the witness's too, spare fewer than is believed."""
    spare_instead(steps, steps.spared.held.difference(lost))


def spare_instead(steps: BpfSteps, spared: Intervals) -> None:
    """Have all stages spare others than is believed."""
    table = steps.programs
    table.make_anew(SparedArrays.of(spared))
    table.commit([TURN])


def ignore_spared_in(steps: BpfSteps) -> None:
    """Have verdicts acted on whoever is spared; the witness sees what it should."""
    table = steps.programs
    parts = replace(table.parts, few=Few(), spared=SparedArrays.of(Intervals.empty()))
    for stand in stands(table._headers):
        program = programs.load(throttling(parts, stand), "spoiled")
        number = index(stage_at(Stage.THROTTLE, stand))
        table.maps.stages.put(number, struct.pack("=I", program))
        programs.close(program)


def delay_making(seconds: float) -> None:
    """Have each registry's arrays take so much longer, where they are made."""
    begin_anew = SparedInForce.begin_anew

    def delayed(self: SparedInForce, spared: Intervals) -> None:
        time.sleep(seconds)
        begin_anew(self, spared)

    SparedInForce.begin_anew = delayed  # type: ignore[method-assign]
