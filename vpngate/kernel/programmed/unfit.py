# SPDX-License-Identifier: GPL-2.0-or-later
"""What keeps programs off an interface: its needs, its headers, or what stands there.

Knows where an IP header begins there, and who is asked about the rest; does not know
what becomes of those that cannot be had.
"""

import fcntl
import socket
import struct
from collections.abc import Collection, Mapping
from contextlib import closing
from typing import NamedTuple

from vpngate.errors import KernelRefused
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
    """Why some cannot be had, and which could not be asked at this moment."""

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
    of programs that we have put there. In any thread, by channels of its own.
    """
    with closing(Channel(NETFILTER)) as nftables, closing(Channel(ROUTE)) as route:
        found = chains_before(nftables, devices, table=table)
        unasked = set[str]()
        for name in few:
            index = devices[name]
            try:
                need = what_it_needs(route, index)
                why = need.why if need else program_at(route, index, ours, table)
            except KernelRefused:  # it may have just gone
                unasked.add(name)
                continue
            if why:
                found.setdefault(name, why)
    return Looked(found, frozenset(unasked))


def header_of(name: str) -> int | None:
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
