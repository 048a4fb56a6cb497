# SPDX-License-Identifier: GPL-2.0-or-later
"""The interfaces at whose hooks programs stand, each for itself.

Knows how a program comes to a hook and is exchanged there, a few at a time, and that an
interface which cannot be had holds up no other; does not know what keeps one from it
(`unfit.py`), nor what programs do. A link goes with the process (TCX,
Linux 6.6). One thread alone may change it; `refused` and `index_of` may be asked by
any.
"""

import time
from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import NamedTuple

from vpngate.errors import KernelRefused, MissingFeature, Problem
from vpngate.kernel.bpf import programs
from vpngate.kernel.bpf.plane_maps import Stand
from vpngate.kernel.bpf.syscall import AttachPoint, BpfRefused
from vpngate.kernel.programmed.programmed_table import ProgrammedTable
from vpngate.kernel.programmed.unfit import ETHERNET, header_of, objections
from vpngate.kernel.wire.links import Device, current_devices
from vpngate.packets import HookPoint
from vpngate.ruleset import Ruleset

_POINTS = {
    HookPoint.INGRESS: AttachPoint.TCX_INGRESS,
    HookPoint.EGRESS: AttachPoint.TCX_EGRESS,
}
_ASKED_AT_ONCE = 32  # interfaces a look: what stands there takes a tenth of a ms each
# Seconds a step: the kernel waits for all its processors at each that comes or goes.
_STEP = 0.02
_NO_LINKS = (22,)  # EINVAL: such a hook is not known
_SEVERED = 67  # ENOLINK: somebody has detached it


class _Refused(NamedTuple):
    of: int  # the interface's index
    why: str


class _Attached(NamedTuple):
    at: int  # the interface's index
    links: dict[HookPoint, int]  # descriptors
    header: int


class ProgramHooks:
    """The interfaces of one plane; see `table/hooks.py` for its twin."""

    def __init__(self, table: ProgrammedTable) -> None:
        self._table = table
        self._devices: dict[str, Device] = {}  # those that are there
        self._refused: dict[str, _Refused] = {}
        self._attached: dict[str, _Attached] = {}
        self._meant: frozenset[str] = frozenset()
        self._due: deque[str] = deque()  # that are to be looked after

    @property
    def refused(self) -> Mapping[str, str]:
        """What cannot be had, and why."""
        return {name: each.why for name, each in self._refused.copy().items()}

    def index_of(self, name: str) -> int | None:
        """The index that an interface had at the last look."""
        device = self._devices.get(name)
        return None if device is None else device.index

    @property
    def largest_mtu(self) -> int:
        """Of all that are there, in bytes; 0 if none is."""
        return max((device.mtu for device in self._devices.values()), default=0)

    def choose(self, ruleset: Ruleset) -> Ruleset:
        """The same ruleset, for those of its interfaces that can be had now."""
        self._look(ruleset)
        known = self._attached.keys() | self._refused.keys()
        self._refuse_unfit(self._devices.keys() - known)
        return replace(ruleset, interfaces=self._wanted())

    def headers(self, names: tuple[str, ...]) -> frozenset[int]:
        """The link headers that packets of these have; others are refused."""
        found = {ETHERNET}
        for name in names:
            header = header_of(name)
            if header is None:
                why = "its packets have a link header that is not known here"
                self._refused[name] = _Refused(self._devices[name].index, why)
            else:
                found.add(header)
        return frozenset(found)

    def stand(self, names: tuple[str, ...]) -> None:
        """Have the table's programs stand at these interfaces, and at no others.

        Begun with those that have some already, and done by `stand_few`.
        """
        self._meant = frozenset(names)
        gone = [name for name in self._attached if name not in self._meant]
        new = [name for name in names if name not in self._attached]
        known = [name for name in names if name in self._attached]
        self._due = deque((*known, *gone, *new))
        self.stand_few()

    def stand_few(self) -> bool:
        """Go on with that for a moment; whether more is to be done."""
        end = time.monotonic() + _STEP
        while self._due and time.monotonic() < end:
            self._settle(self._due.popleft())
        return bool(self._due)

    def leave_at(self, index: int) -> None:
        """Stand no longer at an interface that has gone from here, or is another's."""
        for name, known in list(self._attached.items()):
            if known.at == index:
                self._leave(name)

    def name_at(self, index: int) -> str | None:
        """The name of the interface there, when programs were put to it; any thread."""
        attached = self._attached.copy()
        return next((n for n, each in attached.items() if each.at == index), None)

    def are_whole(self, ruleset: Ruleset) -> bool:
        """Whether our programs stand at all interfaces that can be had now."""
        self._look(ruleset)
        few = [name for name in self._attached if name in self._devices]
        few = few[:_ASKED_AT_ONCE]
        for name in few:  # the others have their turn at the next look
            self._attached[name] = self._attached.pop(name)
        self._refuse_unfit(few)
        wanted = self._wanted()
        return set(wanted) == set(self._attached) and all(map(self._is_whole, wanted))

    def try_again(self, ruleset: Ruleset) -> bool:
        """Whether any that was refused is free now, a few of them at a time."""
        self._look(ruleset)
        few = list(self._refused)[:_ASKED_AT_ONCE]
        for name in few:
            self._refused[name] = self._refused.pop(name)
        if not few:
            return False
        taken = self._objections(few)
        free = [name for name in few if name not in taken]
        free = [name for name in free if header_of(name) is not None]
        for name in free:
            del self._refused[name]
        return bool(free)

    def close(self) -> None:
        """Leave all interfaces."""
        for name in list(self._attached):
            self._leave(name)

    def _wanted(self) -> tuple[str, ...]:
        return tuple(name for name in self._devices if name not in self._refused)

    def _refuse_unfit(self, few: Collection[str]) -> None:
        """Refuse those that have chains of somebody's, or of the few with more."""
        if few or self._attached:
            for name, why in self._objections(few).items():
                self._refused[name] = _Refused(self._devices[name].index, why)

    def _objections(self, few: Collection[str]) -> dict[str, str]:
        ours = [programs.id_of(one) for one in self._table.hooks.values()]
        indexes = {name: device.index for name, device in self._devices.items()}
        return objections(indexes, few, table=self._table.name, ours=ours)

    def _settle(self, name: str) -> None:
        device, header = self._devices.get(name), header_of(name)
        known = self._attached.get(name)
        meant = name in self._meant and name not in self._refused
        if not meant or device is None or header is None:
            self._leave(name)
            return
        if known and (known.at, known.header) != (device.index, header):
            self._leave(name)
            known = None
        try:
            if known is None or not self._exchange(known):
                self._leave(name)
                self._attach(name, device.index, header)
        except KernelRefused as error:
            self._leave(name)
            self._refused[name] = _Refused(device.index, error.lines[0])

    def _is_whole(self, name: str) -> bool:
        known = self._attached[name]
        if known.at != self._devices[name].index:
            return False
        try:
            return all(
                programs.id_of(self._table.hooks[Stand(point, known.header)])
                in programs.attached(known.at, _POINTS[point])
                for point in HookPoint
            )
        except KernelRefused:  # it has just gone
            return False

    def _attach(self, name: str, index: int, header: int) -> None:
        links: dict[HookPoint, int] = {}
        self._attached[name] = _Attached(index, links, header)
        for point in HookPoint:
            program = self._table.hooks[Stand(point, header)]
            try:
                links[point] = programs.link(program, index, _POINTS[point])
            except BpfRefused as error:
                if error.number in _NO_LINKS and not self._others(name):
                    raise _no_links() from error
                raise

    def _others(self, name: str) -> bool:
        return any(other.links for n, other in self._attached.items() if n != name)

    def _exchange(self, known: _Attached) -> bool:
        """Have other programs stand there; False where somebody has detached ours."""
        for point, link in known.links.items():
            try:
                programs.exchange(link, self._table.hooks[Stand(point, known.header)])
            except BpfRefused as error:
                if error.number == _SEVERED:
                    return False
                raise
        return True

    def _leave(self, name: str) -> None:
        known = self._attached.pop(name, None)
        if known is not None:
            for link in known.links.values():
                programs.close(link)

    def _look(self, ruleset: Ruleset) -> None:
        self._devices = current_devices(ruleset.interfaces)
        # Another one of the same name may be had.
        self._refused = {
            name: each
            for name, each in self._refused.items()
            if self.index_of(name) == each.of
        }


def _no_links() -> MissingFeature:
    return MissingFeature(
        Problem(
            "kernel",
            "has no hooks for links of programs (TCX)",
            'take Linux 6.6 or later, or gateway.plane = "nftables"',
        )
    )
