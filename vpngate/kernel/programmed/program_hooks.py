# SPDX-License-Identifier: GPL-2.0-or-later
"""The interfaces at whose hooks programs stand, each for itself.

Knows how a program comes to a hook and is exchanged there, that an interface which
cannot be had, or where something of others' stands, holds up no other, and of which
link layer each is; does not know what programs do. A link goes with the process (TCX,
Linux 6.6). One thread alone may change it; `refused` and `index_of` may be asked by
any.
"""

import fcntl
import socket
import struct
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import NamedTuple

from vpngate.errors import KernelRefused, MissingFeature, Problem
from vpngate.kernel.bpf import programs
from vpngate.kernel.bpf.in_the_way import chains_before, objection_to
from vpngate.kernel.bpf.plane_maps import Stand
from vpngate.kernel.bpf.syscall import AttachPoint, BpfRefused
from vpngate.kernel.programmed.programmed_table import (
    ETHERNET,
    NO_HEADER,
    ProgrammedTable,
)
from vpngate.kernel.wire.channel import Channel
from vpngate.kernel.wire.links import Device, current_devices
from vpngate.packets import HookPoint
from vpngate.ruleset import Ruleset

_POINTS = {
    HookPoint.INGRESS: AttachPoint.TCX_INGRESS,
    HookPoint.EGRESS: AttachPoint.TCX_EGRESS,
}
# ARPHRD_* of linux/if_arp.h: those that have Ethernet's header, and those with none.
# Not GRE (778, 823): what it has for a link header may be the outer IP header.
_WITH_HEADER = {1, 772}
_WITHOUT = {512, 519, 65534, 768, 769, 776, 65535}


_ASKED_AT_ONCE = 32  # interfaces a look: what stands there takes a tenth of a ms each


class _Refused(NamedTuple):
    of: int  # the interface's index
    why: str


class _Attached(NamedTuple):
    at: int  # the interface's index
    links: dict[HookPoint, int]  # descriptors
    header: int


class ProgramHooks:
    """The interfaces of one plane; see `table/hooks.py` for its twin.

    The kernel is asked through `nftables` and `route` what of others' stands there.
    """

    def __init__(
        self, table: ProgrammedTable, nftables: Channel, route: Channel
    ) -> None:
        self._table = table
        self._nftables, self._route = nftables, route
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

    def headers(self, names: tuple[str, ...]) -> set[int]:
        """The link headers that packets of these have; others are refused."""
        found = {ETHERNET}
        for name in names:
            header = _header(name)
            if header is None:
                why = "its packets have a link header that is not known here"
                self._refused[name] = _Refused(self._devices[name].index, why)
            else:
                found.add(header)
        return found

    def stand(self, names: tuple[str, ...]) -> None:
        """Have the table's programs stand at these interfaces, and at no others."""
        for name in set(self._attached) - set(names):
            self._leave(name)
        for name in names:
            if name in self._refused:
                self._leave(name)
                continue
            device, header = self._devices[name], _header(name)
            known = self._attached.get(name)
            if known and (known.at, known.header) != (device.index, header):
                self._leave(name)
                known = None
            try:
                if known is None:
                    self._attach(name, device.index, header or NO_HEADER)
                else:
                    self._exchange(known)
            except KernelRefused as error:
                self._leave(name)
                self._refused[name] = _Refused(device.index, error.lines[0])

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
        before = chains_before(self._nftables, few, table=self._table.name)
        free = [name for name in few if not (before.get(name) or self._shared(name))]
        lacking = [name for name in free if self._lacks_programs(name)]
        return bool(lacking)

    def close(self) -> None:
        """Leave all interfaces."""
        for name in list(self._attached):
            self._leave(name)

    def _wanted(self) -> tuple[str, ...]:
        return tuple(name for name in self._devices if name not in self._refused)

    def _refuse_shared(self, few: Collection[str]) -> None:
        """Refuse those of the few where something of others' stands.

        Chains are asked for all together, so any that has one is refused.
        """
        if not self._devices or not (few or self._attached):
            return
        names, table = list(self._devices), self._table.name
        found = chains_before(self._nftables, names, table=table)
        for name in few:
            if name not in found and (why := self._shared(name)):
                found[name] = why
        for name, why in found.items():
            self._refused[name] = _Refused(self._devices[name].index, why)

    def _shared(self, name: str) -> str:
        """What of others' stands at an interface beside chains; empty if nothing."""
        ours = [programs.id_of(one) for one in self._table.hooks.values()]
        try:
            return objection_to(self._route, self._devices[name].index, ours)
        except KernelRefused as error:  # it may have just gone
            return error.lines[0]

    def _lacks_programs(self, name: str) -> bool:
        """Whether one that is free lacks programs only; where it does not it has them.

        It stays refused if it still cannot be had.
        """
        header = _header(name)
        if header is None:
            return False
        if Stand(HookPoint.INGRESS, header) in self._table.hooks:
            try:
                self._attach(name, self._devices[name].index, header)
            except (KernelRefused, MissingFeature):
                self._leave(name)
                return False
            del self._refused[name]
            return False
        del self._refused[name]
        return True

    def _is_whole(self, name: str) -> bool:
        known = self._attached[name]
        if known.at != self._devices[name].index:
            return False
        return all(
            programs.id_of(self._table.hooks[Stand(point, known.header)])
            in programs.attached(known.at, _POINTS[point])
            for point in HookPoint
        )

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

    def _exchange(self, known: _Attached) -> None:
        for point, link in known.links.items():
            programs.exchange(link, self._table.hooks[Stand(point, known.header)])

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


_SIOCGIFHWADDR = 0x8927
_NO_LINKS = (22,)  # EINVAL: such a hook is not known


def _no_links() -> MissingFeature:
    return MissingFeature(
        Problem(
            "kernel",
            "has no hooks for links of programs (TCX)",
            'take Linux 6.6 or later, or gateway.plane = "nftables"',
        )
    )


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
