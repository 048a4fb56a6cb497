# SPDX-License-Identifier: GPL-2.0-or-later
"""The interfaces at whose hooks programs stand, each for itself.

Knows how a program comes to a hook and is exchanged there, that an interface which
cannot be had, or where something of others' stands, holds up no other, and of which
link layer each is; does not know what programs do, nor how the kernel is told
(`attachments/`). One thread alone may change it; `refused`, `index_of` and `concerns`
may be asked by any.
"""

import fcntl
import socket
import struct
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from vpngate.errors import KernelRefused
from vpngate.kernel.bpf import programs
from vpngate.kernel.bpf.in_the_way import chains_before, program_at
from vpngate.kernel.bpf.plane_maps import Stand
from vpngate.kernel.programmed.attachments.attachment import Attachment, Standing
from vpngate.kernel.programmed.programmed_table import (
    ETHERNET,
    NO_HEADER,
    ProgrammedTable,
)
from vpngate.kernel.wire.channel import NETFILTER, ROUTE, Channel
from vpngate.kernel.wire.links import Announcement, Device, current_devices
from vpngate.packets import HookPoint
from vpngate.ruleset import Ruleset

# ARPHRD_* of linux/if_arp.h: those that have Ethernet's header, and those with none.
_WITH_HEADER = {1, 772}
_WITHOUT = {512, 519, 65534, 768, 769, 776, 778, 823, 65535}


_ASKED_AT_ONCE = 32  # interfaces a look: what stands there takes a tenth of a ms each


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

    @property
    def refused(self) -> Mapping[str, str]:
        """What cannot be had, and why."""
        return {name: each.why for name, each in self._refused.copy().items()}

    def index_of(self, name: str) -> int | None:
        """The index that an interface had at the last look."""
        device = self._devices.get(name)
        return None if device is None else device.index

    def concerns(self, news: Announcement) -> bool:
        """Whether something may have come or gone where our programs stand."""
        if news.what not in self._attachment.announced:
            return False
        return any(one.at == news.index for one in self._attached.copy().values())

    @property
    def largest_mtu(self) -> int:
        """Of all that are there, in bytes; 0 if none is."""
        return max((device.mtu for device in self._devices.values()), default=0)

    def choose(self, ruleset: Ruleset) -> Ruleset:
        """The same ruleset, for those of its interfaces that can be had now."""
        self._look(ruleset)
        known = self._attached.keys() | self._refused.keys()
        self._refuse_shared(self._devices.keys() - known)
        return replace(ruleset, interfaces=self._wanted())

    def headers(self, names: tuple[str, ...]) -> frozenset[int]:
        """The link headers that packets of these have; others are refused."""
        found = {ETHERNET}
        for name in names:
            header = _header(name)
            if header is None:
                why = "its packets have a link header that is not known here"
                self._refused[name] = _Refused(self._devices[name].index, why)
            else:
                found.add(header)
        return frozenset(found)

    def stand(self, names: tuple[str, ...]) -> None:
        """Have the table's programs stand at these interfaces, and at no others."""
        for name in (self._attached.keys() | self._refused.keys()) - set(names):
            self._try_to_leave(name)
        for name in names:
            if name in self._refused:
                self._try_to_leave(name)
                continue
            try:
                self._stand_at(name, _header(name) or NO_HEADER)
            except KernelRefused as error:
                self._try_to_leave(name)
                at = self._devices[name].index
                self._refused[name] = _Refused(at, error.lines[0])

    def are_whole(self, ruleset: Ruleset) -> bool:
        """Whether our programs stand at all interfaces that can be had now."""
        self._look(ruleset)
        few = [name for name in self._attached if name in self._devices]
        few = few[:_ASKED_AT_ONCE]
        for name in few:  # the others have their turn at the next look
            self._attached[name] = self._attached.pop(name)
        self._refuse_shared(few)
        wanted = self._wanted()
        return set(wanted) == set(self._attached) and all(map(self._is_whole, wanted))

    def try_again(self, ruleset: Ruleset) -> bool:
        """Whether any that was refused can be had, with programs yet to be made.

        Where there are such programs already they are put there.
        """
        self._look(ruleset)
        few = list(self._refused)[:_ASKED_AT_ONCE]
        for name in few:
            self._refused[name] = self._refused.pop(name)
        if not few:
            return False
        taken = self._shared(few, few)
        free = [name for name in few if name not in taken]
        lacking = [name for name in free if self._lacks_programs(name)]
        return bool(lacking)

    def close(self) -> None:
        """Leave all interfaces, each whatever became of the others."""
        with ExitStack() as stack:
            for name in self._attached.keys() | self._refused.keys():
                stack.callback(partial(self._leave, name))

    def _wanted(self) -> tuple[str, ...]:
        return tuple(name for name in self._devices if name not in self._refused)

    def _refuse_shared(self, few: Collection[str]) -> None:
        """Refuse those of the few where something of others' stands.

        Chains are asked for all together, so any that has one is refused.
        """
        if not self._devices or not (few or self._attached):
            return
        for name, why in self._shared(list(self._devices), few).items():
            self._refused[name] = _Refused(self._devices[name].index, why)

    def _shared(self, names: Sequence[str], few: Collection[str]) -> dict[str, str]:
        """Those of the names that have chains of others', or of the few with more.

        Through channels of its own: it is asked in other threads, too.
        """
        ours = [programs.id_of(one) for one in self._table.hooks.values()]
        with (
            closing(Channel(NETFILTER)) as nftables,
            closing(Channel(ROUTE)) as route,
        ):
            found = chains_before(nftables, names, table=self._table.name)
            for name in few:
                try:
                    index, table = self._devices[name].index, self._table.name
                    why = program_at(route, index, ours, table)
                except KernelRefused as error:  # it may have just gone
                    why = error.lines[0]
                if why:
                    found.setdefault(name, why)
        return found

    def _lacks_programs(self, name: str) -> bool:
        """Whether one that is free lacks programs only; where it does not it has them.

        It stays refused if it still cannot be had.
        """
        header = _header(name)
        if header is None:
            return False
        if Stand(HookPoint.INGRESS, header) in self._table.hooks:
            try:
                self._stand_at(name, header)
            except KernelRefused:
                self._try_to_leave(name)
                return False
            del self._refused[name]
            return False
        del self._refused[name]
        return True

    def _is_whole(self, name: str) -> bool:
        at, header = self._attached[name]
        if at != self._devices[name].index:
            return False
        return self._attachment.stands_at(at, self._programs(header))

    def _stand_at(self, name: str, header: int) -> None:
        index, known = self._devices[name].index, self._attached.get(name)
        if known and known.at != index:
            self._leave(name)
        self._attached[name] = _Attached(index, header)
        self._attachment.stand_at(index, self._programs(header))

    def _programs(self, header: int) -> Standing:
        return {point: self._table.hooks[Stand(point, header)] for point in HookPoint}

    def _leave(self, name: str) -> None:
        """Also where a dead daemon has left programs that we could not take over."""
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


_SIOCGIFHWADDR = 0x8927


def _header(name: str) -> int | None:
    """Bytes before the IP header of an interface's packets; None: not known.

    Asked of the namespace that this is called in, whatever /sys shows.
    """
    request = struct.pack("16s24x", name.encode())
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            answer = fcntl.ioctl(asking, _SIOCGIFHWADDR, request)
    except OSError:  # it has just gone
        return ETHERNET
    (kind,) = struct.unpack_from("=H", answer, 16)
    if kind in _WITH_HEADER:
        return ETHERNET
    return NO_HEADER if kind in _WITHOUT else None
