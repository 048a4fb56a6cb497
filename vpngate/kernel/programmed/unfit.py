# SPDX-License-Identifier: GPL-2.0-or-later
"""What keeps programs off an interface: its needs, its headers, or what stands there.

Knows where an IP header begins there, and who is asked about the rest; does not know
what becomes of those that cannot be had, nor of those that could not be asked. Only an
answer is an objection: questions fail for a moment, as where links come and go while
they are listed, or while no descriptor is left.
"""

import errno
import fcntl
import socket
import struct
from collections.abc import Collection, Mapping
from contextlib import closing
from typing import NamedTuple

from vpngate.errors import KernelRefused, Problem
from vpngate.kernel.bpf.in_the_way import chains_before, program_at
from vpngate.kernel.bpf.taken_off import what_it_needs
from vpngate.kernel.wire.channel import NETFILTER, ROUTE, Channel

ETHERNET, NO_HEADER = 14, 0  # bytes before the IP header
# ARPHRD_* of linux/if_arp.h: those that have Ethernet's header, and those with none.
# Tunnels' devices are in neither: where a packet's headers begin there depends on how
# it came.
_WITH_HEADER = {1, 772}
_WITHOUT = {512, 519, 65534}  # PPP, raw IP, tun
_SIOCGIFHWADDR = 0x8927


class Looked(NamedTuple):
    """What a look at interfaces has found, by their names.

    objections  why some cannot be had
    unasked     those of the few whose question failed for a moment, or that are gone:
                where programs stand nothing is known against it
    """

    objections: dict[str, str]
    unasked: frozenset[str]


def objections(
    devices: Mapping[str, int],
    few: Collection[str],
    *,
    table: str,
    ours: Collection[int],
) -> Looked:
    """Those of the devices (indexes by name) that cannot be had, and why.

    Chains are asked for all together, the rest of the few alone. `ours` are the numbers
    of programs that we have put there. In any thread, by channels of its own. Raises
    KernelRefused where nothing can be asked.
    """
    unasked = set[str]()
    with closing(Channel(NETFILTER)) as nftables, closing(Channel(ROUTE)) as route:
        found = chains_before(nftables, devices, table=table)
        for name in few:
            try:
                why = _objection(route, nftables, devices[name], ours, table)
                if why:
                    found.setdefault(name, why)
                else:
                    _hardware(name)  # which is asked again to stand there
            except KernelRefused:
                unasked.add(name)
    return Looked(found, frozenset(unasked - found.keys()))


def _objection(
    route: Channel, nftables: Channel, index: int, ours: Collection[int], table: str
) -> str:
    need = what_it_needs(route, nftables, index)
    return need.why if need else program_at(route, index, ours, table)


def header_of(name: str) -> int | None:
    """Bytes before the IP header of an interface's packets; None: not known.

    One that has gone has no packets: what is said of it does no harm. Raises
    KernelRefused where it cannot be asked at this moment.
    """
    try:
        kind = _hardware(name)
    except _Gone:
        return ETHERNET
    if kind in _WITH_HEADER:
        return ETHERNET
    return NO_HEADER if kind in _WITHOUT else None


class _Gone(KernelRefused):
    """There is no interface of that name."""


def _hardware(name: str) -> int:
    """Its ARPHRD_*; KernelRefused where that cannot be asked.

    Asked of the namespace that this is called in, whatever /sys shows.
    """
    request = struct.pack("16s24x", name.encode())
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            answer = fcntl.ioctl(asking, _SIOCGIFHWADDR, request)
    except OSError as error:
        kind = _Gone if error.errno == errno.ENODEV else KernelRefused
        raise kind(Problem(f"interface {name}", str(error.strerror))) from error
    (hardware,) = struct.unpack_from("=H", answer, 16)
    return int(hardware)
