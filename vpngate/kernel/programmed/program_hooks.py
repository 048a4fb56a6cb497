# SPDX-License-Identifier: GPL-2.0-or-later
"""The interfaces at whose hooks programs stand, each for itself.

Knows that they come, are exchanged and go a few at a time, and that an interface which
cannot be had holds up no other; does not know what keeps one from it (`unfit.py`), how
the kernel is told (`attachments/`), nor what programs do. One thread alone may change
it; `refused`, `index_of`, `name_at` and `concerns` may be asked by any.
"""

import time
from collections import deque
from collections.abc import Collection, Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from vpngate.errors import KernelRefused
from vpngate.kernel.bpf import programs
from vpngate.kernel.bpf.plane_maps import Stand
from vpngate.kernel.programmed.attachments.attachment import Attachment, Standing
from vpngate.kernel.programmed.programmed_table import ProgrammedTable
from vpngate.kernel.programmed.unfit import ETHERNET, header_of, objections
from vpngate.kernel.wire.links import Announcement, Device, current_devices
from vpngate.packets import HookPoint
from vpngate.ruleset import Ruleset

_ASKED_AT_ONCE = 32  # interfaces a look: what stands there takes a tenth of a ms each
# Seconds a step: the kernel waits for all its processors at each that comes or goes.
_STEP = 0.02


class _Refused(NamedTuple):
    of: int  # the interface's index
    why: str


class _Attached(NamedTuple):
    at: int  # the interface's index
    header: int


class ProgramHooks:
    """The interfaces of one plane; see `table/hooks.py` for its twin."""

    def __init__(self, table: ProgrammedTable, attachment: Attachment) -> None:
        self._table = table
        self._attachment = attachment
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

        Begun with those that have some already, and done by `stand_few`. Where a dead
        daemon may have left some that are not taken over, these go, too.
        """
        self._meant = frozenset(names)
        seen = self._attached.keys() | self._refused.keys()
        gone = [name for name in seen if name not in self._meant]
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
                self._try_to_leave(name)

    def name_at(self, index: int) -> str | None:
        """The name of the interface there, when programs were put to it; any thread."""
        attached = self._attached.copy()
        return next((n for n, each in attached.items() if each.at == index), None)

    def concerns(self, news: Announcement) -> bool:
        """Whether something may have come or gone where our programs stand."""
        told = news.what in self._attachment.announced
        return told and self.name_at(news.index) is not None

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
        """Leave all interfaces, each whatever became of the others."""
        with ExitStack() as stack:
            for name in self._attached.keys() | self._refused.keys():
                stack.callback(partial(self._leave, name))

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
        looked = objections(indexes, few, table=self._table.name, ours=ours)
        waits = dict.fromkeys(looked.unasked, "cannot be asked what stands there")
        return waits | looked.objections

    def _settle(self, name: str) -> None:
        device, header = self._devices.get(name), header_of(name)
        known = self._attached.get(name)
        meant = name in self._meant and name not in self._refused
        if not meant or device is None or header is None:
            self._try_to_leave(name)
            return
        try:
            if known and known.at != device.index:
                self._leave(name)
            self._attached[name] = _Attached(device.index, header)
            self._attachment.stand_at(device.index, self._programs(header))
        except KernelRefused as error:
            self._try_to_leave(name)
            self._refused[name] = _Refused(device.index, error.lines[0])

    def _is_whole(self, name: str) -> bool:
        at, header = self._attached[name]
        if at != self._devices[name].index:
            return False
        return self._attachment.stands_at(at, self._programs(header))

    def _programs(self, header: int) -> Standing:
        return {point: self._table.hooks[Stand(point, header)] for point in HookPoint}

    def _leave(self, name: str) -> None:
        """Also where a dead daemon has left programs that were not taken over."""
        known = self._attached.get(name)
        index = known.at if known else self.index_of(name)
        if index is not None:
            self._attachment.leave(index)
        self._attached.pop(name, None)

    def _try_to_leave(self, name: str) -> None:
        """It holds up no other; tried again at the next look."""
        with suppress(KernelRefused):
            self._leave(name)

    def _look(self, ruleset: Ruleset) -> None:
        self._devices = current_devices(ruleset.interfaces)
        # Another one of the same name may be had.
        self._refused = {
            name: each
            for name, each in self._refused.items()
            if self.index_of(name) == each.of
        }
