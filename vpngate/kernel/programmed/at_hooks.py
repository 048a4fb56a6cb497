# SPDX-License-Identifier: GPL-2.0-or-later
"""The programs that stand at hooks: those proper, or such as go on at them.

Knows that what may outlive the daemon is next to nothing and is never exchanged, while
the programs proper are stages then; does not know interfaces, nor when others are
wanted. One thread alone may use it.
"""

from vpngate.kernel.bpf import programs
from vpngate.kernel.bpf.code.hooked import at_lasting_hook
from vpngate.kernel.bpf.code.stages import PlaneParts
from vpngate.kernel.bpf.plane_maps import Stage, Stand, stage_at
from vpngate.kernel.programmed.made_ahead import StageSet


class AtHooks:
    """Those of one plane; `lasting` is whether they may outlive the process."""

    def __init__(self, *, lasting: bool) -> None:
        self.programs: dict[Stand, int] = {}  # descriptors
        self._lasting = lasting

    def taken_from(self, loaded: StageSet, parts: PlaneParts) -> dict[Stand, int]:
        """What is to stand there once these are in force; to be `turn`ed to then."""
        proper = loaded.hooks.copy()
        loaded.hooks.clear()
        if not self._lasting:
            return proper
        loaded.stages.update((stage_at(Stage.HOOK, s), p) for s, p in proper.items())
        made = {s: one for s, one in self.programs.items() if s in proper}
        try:
            for stand in proper.keys() - made.keys():
                code = at_lasting_hook(parts, stand)
                made[stand] = programs.load(code, "vpngate_hook")
        except BaseException:
            self.drop(made)
            loaded.close()
            raise
        return made

    def turn(self, made: dict[Stand, int]) -> None:
        """Have these, and let go of those that are among them no more."""
        old, self.programs = self.programs, made
        _close(old, made)

    def drop(self, made: dict[Stand, int]) -> None:
        """They have not come into force."""
        _close(made, self.programs)

    def close(self) -> None:
        """Let go of all; what lasts stays where it stands."""
        self.turn({})


def _close(those: dict[Stand, int], kept: dict[Stand, int]) -> None:
    for program in set(those.values()) - set(kept.values()):
        programs.close(program)
