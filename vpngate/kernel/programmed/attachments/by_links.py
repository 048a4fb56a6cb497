# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs that stand by links (TCX, Linux 6.6): they go with the process.

Knows which links it holds; does not know what else stands at an interface.
"""

import errno
from collections.abc import Collection

from vpngate.kernel.bpf import programs
from vpngate.kernel.bpf.syscall import AttachPoint, BpfRefused
from vpngate.kernel.programmed.attachments.attachment import Attachment, Standing
from vpngate.kernel.wire.links import What
from vpngate.packets import HookPoint

_POINTS = {
    HookPoint.INGRESS: AttachPoint.TCX_INGRESS,
    HookPoint.EGRESS: AttachPoint.TCX_EGRESS,
}


class ByLinks(Attachment):
    """Links are not announced; filters that somebody puts beside one are."""

    lasting = False
    announced: Collection[What] = (What.FILTER,)
    kept: Collection[int] = ()

    def __init__(self) -> None:
        self._links: dict[int, dict[HookPoint, int]] = {}  # descriptors

    def stand_at(self, index: int, those: Standing) -> None:
        """Make links, or have others stand where they do."""
        links = self._links.setdefault(index, {})
        for hook, program in those.items():
            if hook in links and _is_severed(links[hook], program):
                programs.close(links.pop(hook))
            if hook not in links:
                links[hook] = programs.link(program, index, _POINTS[hook])

    def stands_at(self, index: int, those: Standing) -> bool:
        """Ask for the programs at each hook."""
        try:
            return all(
                programs.id_of(program) in programs.attached(index, _POINTS[hook])
                for hook, program in those.items()
            )
        except BpfRefused:  # it has just gone
            return False

    def leave(self, index: int) -> None:
        """Let go of the links: a dead daemon's are gone."""
        for link in self._links.pop(index, {}).values():
            programs.close(link)

    vacate = forget = leave

    def lost(self, index: int) -> None:
        """Links stand in nothing."""


def _is_severed(link: int, program: int) -> bool:
    """Have a program stand by a link, unless somebody has detached that."""
    try:
        programs.exchange(link, program)
    except BpfRefused as error:
        if error.number != errno.ENOLINK:
            raise
        return True
    return False
