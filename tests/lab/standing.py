# SPDX-License-Identifier: GPL-2.0-or-later
"""What stands at an interface's hooks, asked of the kernel by its numbers.

Knows programs by links and by filters, and the stages that they lead to; does not know
who put them there. Root alone may ask. To be called in the interface's namespace.
"""

import os
import struct
from contextlib import closing
from typing import NamedTuple, cast

from tests.lab import descriptors
from vpngate.kernel.bpf import programs
from vpngate.kernel.bpf.maps import index as key_of
from vpngate.kernel.bpf.marks import SIDES
from vpngate.kernel.bpf.plane_maps import STAGES
from vpngate.kernel.bpf.syscall import (
    AttachPoint,
    BpfRefused,
    CallAttributes,
    Command,
    MapKind,
    Octets,
    address,
    attempt,
    call,
)
from vpngate.kernel.wire import tc
from vpngate.kernel.wire.channel import ROUTE, Channel

_PROGRAM_BY_ID, _MAP_BY_ID = cast("Command", 13), cast("Command", 14)
_LINK_BY_ID, _LINK_DETACH = cast("Command", 30), cast("Command", 34)
_NEXT_MAP = cast("Command", 12)
_INFO, _MOST_MAPS = 256, 64
# In struct bpf_prog_info: bytes of instructions, number of maps, where their ids go.
_SIZE_AT, _MAPS_AT, _IDS_AT = 20, 52, 56


class Told(NamedTuple):
    """What the kernel says of a program."""

    instructions: int
    maps: list[int]


def programs_at(index: int) -> list[int]:
    """The numbers of all programs at an interface, links' and filters'."""
    found: list[int] = []
    for point in AttachPoint:
        try:
            found += programs.attached(index, point)
        except BpfRefused:  # there are no links
            continue
    with closing(Channel(ROUTE)) as channel:
        for side in SIDES.values():
            those = tc.filters_at(channel, index, side)
            found += [one.program for one in those if isinstance(one, tc.Classifier)]
    return found


def told_of(program: int) -> Told:
    """Its size, and the numbers of its maps."""
    ids, info = bytearray(4 * _MOST_MAPS), bytearray(_INFO)
    struct.pack_into("=IQ", info, _MAPS_AT, _MOST_MAPS, address(ids))
    descriptor = _opened(_PROGRAM_BY_ID, program)
    try:
        _ask(descriptor, info)
    finally:
        os.close(descriptor)
    (size,) = struct.unpack_from("=I", info, _SIZE_AT)
    (count,) = struct.unpack_from("=I", info, _MAPS_AT)
    return Told(size // 8, list(struct.unpack_from(f"={count}I", ids)))


def stages_of(program: int) -> int:
    """How many stages there are for it to go on at."""
    return sum(map(_stages_in, told_of(program).maps))


def has_map(number: int) -> bool:
    """Whether the kernel has a map of that number; who asks does not keep it.

    An array of programs that nobody holds goes once a worker has emptied it.
    """
    attributes = CallAttributes("I", number - 1)
    return attempt(_NEXT_MAP, attributes) >= 0 and attributes.word(4) == number


def _stages_in(number: int) -> int:
    descriptor = _opened(_MAP_BY_ID, number)
    try:
        info = bytearray(_INFO)
        _ask(descriptor, info)
        (kind,) = struct.unpack_from("=I", info)
        if kind != MapKind.PROGRAM_ARRAY:
            return 0
        return sum(_is_there(descriptor, one) for one in range(STAGES))
    finally:
        os.close(descriptor)


def _is_there(array: int, number: int) -> bool:
    key, value = key_of(number), bytearray(4)
    told = CallAttributes("IIQQQ", array, 0, address(key), address(value), 0)
    try:
        call(Command.MAP_LOOKUP, told, "look a stage up")
    except BpfRefused:
        return False
    return True


def links_of(pid: int) -> dict[int, int]:
    """Where each link of a process is, an interface's index, by the link's number."""
    return {
        int(told["link_id"]): int(told["ifindex"])
        for told in descriptors.told_of(pid)
        if "link_id" in told and "ifindex" in told
    }


def detach(link: int) -> None:
    """Have a program stand there no longer, as `bpftool link detach` does."""
    descriptor = _opened(_LINK_BY_ID, link)
    try:
        call(_LINK_DETACH, CallAttributes("I", descriptor), "detach a link")
    finally:
        os.close(descriptor)


def _opened(how: Command, number: int) -> int:
    return call(how, CallAttributes("I", number), "open it")


def _ask(descriptor: int, info: Octets) -> None:
    attributes = CallAttributes("IIQ", descriptor, _INFO, address(info))
    call(Command.OBJECT_INFO, attributes, "ask for it")
