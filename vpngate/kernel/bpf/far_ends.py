# SPDX-License-Identifier: GPL-2.0-or-later
"""The program at the far ends of shaping pairs: put there, and looked after.

Knows that it stands by a filter of clsact, which nobody has to hold: what waits in a
pair when the daemon is killed is on its way all the same. Does not know what the
program does (`code/way_back.py`), nor how pairs are made.
"""

from vpngate.errors import KernelRefused, Problem
from vpngate.kernel.bpf import programs
from vpngate.kernel.bpf.code.way_back import returner
from vpngate.kernel.wire import tc
from vpngate.kernel.wire.channel import Change, Channel

_NAME = "vpngate_return"  # letters, digits, "_" and "."
_FIRST = 1 << 16  # preference


class FarEnds:
    """The filters of one data plane. One thread alone may use it."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._program: int | None = None  # a descriptor
        self._number = 0

    def close(self) -> None:
        """Let go of the program; it stays where it stands."""
        program, self._program = self._program, None
        if program is not None:
            programs.close(program)

    def stand_at(self, index: int) -> None:
        """Have what comes in there sent on, from now on.

        KernelRefused if it cannot be, MissingFeature or MissingPrivilege if no such
        program can be loaded.
        """
        if self._program is None:
            self._program = programs.load(returner(), _NAME)
            self._number = programs.id_of(self._program)
        stands = tc.Place(index, 1, tc.CLSACT_INGRESS, _FIRST)
        changes = [
            Change(tc.new_clsact(index), "clsact"),
            Change(tc.new_classifier(stands, self._program, _NAME), "filter"),
        ]
        if failures := self._channel.each(changes):
            where = f"{failures[0].what} of a pair's far end"
            raise KernelRefused(Problem(where, str(failures[0])))

    def stands_at(self, index: int) -> bool:
        """Whether our program is the first that is shown what comes in there."""
        found = tc.filters_at(self._channel, index, tc.CLSACT_INGRESS)
        first = found[0] if found else None
        return isinstance(first, tc.Classifier) and first.program == self._number
