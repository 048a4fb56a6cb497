# SPDX-License-Identifier: GPL-2.0-or-later
"""The interfaces at whose hooks programs stand, each for itself.

Knows how a program comes to a hook and is exchanged there, that an interface which
cannot be had holds up no other, and of which link layer each is; does not know what
programs do. A link goes with the process (TCX, Linux 6.6). One thread alone may change
it; `refused` and `index_of` may be asked by any.
"""

import fcntl
import socket
import struct
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from vpngate.errors import KernelRefused, MissingFeature, Problem
from vpngate.kernel.bpf import programs
from vpngate.kernel.bpf.plane_maps import Stand
from vpngate.kernel.bpf.syscall import AttachPoint, BpfRefused
from vpngate.kernel.programmed.programmed_table import (
    ETHERNET,
    NO_HEADER,
    ProgrammedTable,
)
from vpngate.kernel.wire.links import Device, current_devices
from vpngate.packets import HookPoint
from vpngate.ruleset import Ruleset

_POINTS = {
    HookPoint.INGRESS: AttachPoint.TCX_INGRESS,
    HookPoint.EGRESS: AttachPoint.TCX_EGRESS,
}
# ARPHRD_* of linux/if_arp.h: those that have Ethernet's header, and those with none.
_WITH_HEADER = {1, 772}
_WITHOUT = {512, 519, 65534, 768, 769, 776, 778, 823, 65535}


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
        wanted = tuple(name for name in self._devices if name not in self._refused)
        return replace(ruleset, interfaces=wanted)

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
        wanted = [name for name in self._devices if name not in self._refused]
        return set(wanted) == set(self._attached) and all(map(self._is_whole, wanted))

    def try_again(self, ruleset: Ruleset) -> bool:
        """Whether any that was refused is to be tried again: all are."""
        self._look(ruleset)
        tried, self._refused = bool(self._refused), {}
        return tried

    def close(self) -> None:
        """Leave all interfaces."""
        for name in list(self._attached):
            self._leave(name)

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
