# SPDX-License-Identifier: GPL-2.0-or-later
"""Shaping pairs by themselves, in the lab's gateway: no verdicts, no daemon.

Knows programs that send packets of chosen ports to a pair and note how they come back;
does not know what else a data plane decides.
"""

import signal
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.lab.topology import Place
from vpngate.kernel.bpf import programs
from vpngate.kernel.bpf.assembly import (
    R0,
    R1,
    R2,
    R3,
    R4,
    R6,
    R7,
    R8,
    R9,
    STACK,
    ActionCode,
    Assembly,
    Context,
)
from vpngate.kernel.bpf.code.way_back import Bound, hand_over, is_back
from vpngate.kernel.bpf.far_ends import FarEnds
from vpngate.kernel.bpf.maps import Map, MapLayout, index
from vpngate.kernel.bpf.syscall import Helper, MapKind
from vpngate.kernel.shaping.classes import Classes
from vpngate.kernel.shaping.devices.veth_devices import VethDevices
from vpngate.kernel.shaping.queueing import largest_packet
from vpngate.kernel.shaping.route import Route
from vpngate.kernel.shaping.shaper import Shaper
from vpngate.kernel.way import Way
from vpngate.kernel.wire import tc
from vpngate.kernel.wire.channel import ROUTE, Change, Channel
from vpngate.kernel.wire.links import links_named
from vpngate.packets import Direction, HookPoint

SIDES = {HookPoint.INGRESS: tc.CLSACT_INGRESS, HookPoint.EGRESS: tc.CLSACT_EGRESS}
DIRECTIONS = {
    HookPoint.INGRESS: Direction.UPLOAD,
    HookPoint.EGRESS: Direction.DOWNLOAD,
}
# What a packet is given before it is handed over, by hook.
MARK = {HookPoint.INGRESS: 0x1234, HookPoint.EGRESS: 0x5678}
PRIORITY = {HookPoint.INGRESS: 5, HookPoint.EGRESS: 0x0001_0020}
_NOTE = struct.Struct("=QQQIIIII")
_ETHERNET, _VLAN_TAG = 14, 24
_SO_RCVBUFFORCE = 33


class Met(NamedTuple):
    """Packets of the chosen flows at a hook; the rest is of the last one.

    sent   to the pair
    back   met again, or for the first time if they were not sent
    """

    sent: int
    back: int
    time: int
    mark: int
    priority: int
    tag: int
    length: int
    vlan: int


class Unwatched:
    """Nobody looks at what is sent to a pair."""

    def stand_at(self, number: int, device: str, major: int) -> None: ...

    def stands_at(self, number: int) -> bool:  # noqa: ARG002
        return True

    def leave(self, number: int) -> None: ...


@dataclass
class Pairs:
    """The pairs, their classes, and the programs that lead to them."""

    shaper: Shaper
    classes: Classes
    channel: Channel
    flows: Map
    notes: dict[HookPoint, Map] = field(default_factory=dict)
    _stands: list[int] = field(default_factory=list)

    def divert(self, place: int, source: int, target: int) -> None:
        """Have what goes from one port to the other, and back, wait at a place."""
        self.classes.make([place])
        device = self.shaper.index_of(place)
        assert device
        for ports, direction in (
            ((source, target), Direction.UPLOAD),
            ((target, source), Direction.DOWNLOAD),
        ):
            number = self.shaper.class_id(place, direction)
            value = struct.pack("=II", number, device)
            self.flows.put(struct.pack("!HH", *ports), value)

    def met(self, hook: HookPoint) -> Met:
        """What the programs at a hook have seen so far."""
        found = self.notes[hook].get(index(0))
        assert found is not None
        return Met(*_NOTE.unpack(found))

    def stand_at(self, name: str, *, header: bool = True) -> None:
        """Put the programs at both hooks of an interface, in front of others."""
        [link] = links_named(self.channel, [name])
        assert link is not None
        self._stands.append(link.index)
        assert not self.channel.each([Change(tc.new_clsact(link.index), "clsact")])
        for hook, side in SIDES.items():
            layout = MapLayout(MapKind.ARRAY, 4, _NOTE.size, 1)
            notes = self.notes.setdefault(hook, Map("notes", layout))
            for preference, code in (
                (1, self._diverter(hook, notes, header=header)),
                (2, self._recorder(notes, header=header)),
            ):
                program = programs.load(code, "test")
                stands = tc.Place(link.index, 1, side, preference << 16)
                change = Change(tc.new_classifier(stands, program, "test"), "filter")
                assert not self.channel.each([change])
                programs.close(program)

    def leave(self) -> None:
        """Take them away again, and all that stands beside them."""
        for interface in self._stands:
            stands = tc.Place(interface, tc.CLSACT_HANDLE, tc.CLSACT)
            self.channel.each([Change(tc.packed(tc.DELETE_QDISC, 0, stands), "clsact")])
        self._stands.clear()

    def _diverter(self, hook: HookPoint, notes: Map, *, header: bool) -> bytes:
        code = Assembly().set(R6, R1)
        is_back(code, hook, "first time")
        code.label("first time")
        self._find(code, header=header)
        for what, values in ((Context.MARK, MARK), (Context.PRIORITY, PRIORITY)):
            code.set(R1, values[hook]).store(4, R6, what, R1)
        code.load(4, R8, R0, 0).load(4, R9, R0, 4)
        code.map_value(R1, notes, 0).set(R2, 1).add_at(R1, 0, R2)
        hand_over(code, hook, Bound(device=R9, class_number=R8), header=header)
        return code.label("alone").exit(ActionCode.NEXT).assembled()

    def _recorder(self, notes: Map, *, header: bool) -> bytes:
        code = Assembly().set(R6, R1)
        self._find(code, header=header)
        code.map_value(R7, notes, 0).set(R2, 1).add_at(R7, 8, R2)
        code.load(8, R0, R6, Context.TIMESTAMP).store(8, R7, 16, R0)
        fields = (Context.MARK, Context.PRIORITY, Context.TC_INDEX, Context.LENGTH)
        for at, what in enumerate((*fields, _VLAN_TAG)):
            code.load(4, R0, R6, what).store(4, R7, 24 + 4 * at, R0)
        return code.label("alone").exit(ActionCode.NEXT).assembled()

    def _find(self, code: Assembly, *, header: bool) -> None:
        """R0: what its flow leads to; packets of others go to `alone`."""
        ip = _ETHERNET if header else 0
        code.load(4, R0, R6, Context.PROTOCOL).set(R2, ip + 20)
        code.jump("==", R0, 0x0008, "ports").set(R2, ip + 40)
        code.jump("!=", R0, 0xDD86, "alone").label("ports")
        code.set(R1, R6).set(R3, STACK).compute("+", R3, -16).set(R4, 4)
        code.call(Helper.LOAD_BYTES).jump("!=", R0, 0, "alone")
        code.map(R1, self.flows).set(R2, STACK).compute("+", R2, -16)
        code.call(Helper.MAP_LOOKUP).jump("==", R0, 0, "alone")


@contextmanager
def pairs(rate: int, table: str = "vpngate", mtu: int = 0) -> Iterator[Pairs]:
    """Shaping pairs in the namespace of this thread, deleted in the end."""
    with ExitStack() as stack:
        channel = stack.enter_context(closing(Channel(ROUTE)))
        route = stack.enter_context(closing(Route()))
        keeper = stack.enter_context(closing(FarEnds(channel)))
        devices = VethDevices(table, route, channel, keeper)
        shaper = Shaper(devices, route, channel, Unwatched())
        shaper.look_around()
        stack.callback(shaper.remove_all)
        shaper.begin(rate, largest_packet(mtu))
        flows = stack.enter_context(
            closing(Map("flows", MapLayout(MapKind.HASH, 4, 8, 1024)))
        )
        made = Pairs(shaper, Classes(shaper), channel, flows)
        stack.callback(made.leave)
        yield made


def bound(place: Place, port: int) -> socket.socket:
    """A socket there with much room, that waits for two seconds."""

    def make() -> socket.socket:
        family = socket.AF_INET6 if ":" in place.address else socket.AF_INET
        made = socket.socket(family, socket.SOCK_DGRAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 4 << 20)
        made.bind((place.address, port))
        made.settimeout(2)
        return made

    return place.namespace.call(make)


def addresses_of(name: str) -> list[bytes]:
    """Of the link of that name, in the namespace of this thread, if there is one."""
    with closing(Channel(ROUTE)) as channel:
        return [link.address for link in links_named(channel, [name]) if link]


def way_of(shaper: Shaper) -> Way:
    """What judges announcements about the pairs; nothing else may be asked of it."""
    nobody: Any = None
    return Way(nobody, shaper, nobody)


def until_killed() -> None:
    """Pairs for one flow at lan0, at the lowest rate; says that it is ready."""
    with pairs(512_000) as made:
        made.stand_at("lan0")
        made.divert(1, 40_100, 50_100)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        signal.pause()


if __name__ == "__main__":
    until_killed()
