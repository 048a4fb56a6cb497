# SPDX-License-Identifier: GPL-2.0-or-later
"""The whole data plane of this kernel, with packets through it.

Knows a flow with a verdict, a handshake, and what was seen of either; does not know
what it means that one was not. Called inside a namespace of our own (`namespace.py`).
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import NamedTuple

from pyroute2 import IPRoute

from vpngate.kernel.live import LiveDataPlane
from vpngate.kernel.shaping.places import class_direction
from vpngate.kernel.shaping.readings import read_classes
from vpngate.kernel.steps import Steps
from vpngate.kernel.survey.namespace import Arrivals, Wire, datagram
from vpngate.kernel.wire import tc
from vpngate.kernel.wire.channel import ROUTE, Channel
from vpngate.packets import Direction, Endpoint, HookPoint, Packet, Transport
from vpngate.policy import Throttle
from vpngate.ruleset import Ruleset
from vpngate.ruleset.composition import hook_of

_SUBSCRIBER = Endpoint(bytes((100, 64, 0, 2)), 40001)
_REMOTE = Endpoint(bytes((198, 51, 100, 10)), 51820)
_FLOW = Throttle(Transport.UDP, _SUBSCRIBER, _REMOTE, _SUBSCRIBER.address, idle=60)
_OTHER_PORT = 40002
# Who lives behind the near end, uploading and downloading, and who does not.
HOMES = (_SUBSCRIBER.address, _REMOTE.address)
_STRAY = bytes((203, 0, 113, 9))
_PACKETS = 3
_PATIENCE = 1.0  # seconds until packets that were sent have been seen
_STEP = 0.01


Handshake = Mapping[Direction, bytes]  # payloads


@dataclass(frozen=True, slots=True)
class Passage:
    """Test packets of a direction, and how far they came.

    counted  as throttled
    shaped   passed by their class
    arrived  where they would have without a verdict, as they were sent
    """

    sent: int
    counted: int
    shaped: int
    arrived: int

    @property
    def whole(self) -> bool:
        """Whether every packet took the expected way."""
        return self.sent == self.counted == self.shaped == self.arrived


class Whole(NamedTuple):
    """A whole data plane.

    steps   what its changes are made of: those of nftables if nothing else is said
    device  the first one where its packets wait
    before  what is to be done before it ends: its copies are read, if they end with it
    """

    steps: Steps | None
    device: str
    before: Callable[[], None] = lambda: None


def pass_through(
    ruleset: Ruleset, wire: Wire, handshake: Handshake, whole: Whole
) -> dict[Direction, Passage]:
    """Start the whole data plane at the near end, and send packets through it.

    Returns what became of the packets of a flow with a verdict, by direction, if the
    ruleset enforces. The messages of a handshake are sent, too: their copies go to
    whoever reads them. Raises what the data plane raises, and MissingPrivilege if
    packets may not be sent.
    """
    return asyncio.run(_pass_through(ruleset, wire, handshake, whole))


async def _pass_through(
    ruleset: Ruleset, wire: Wire, handshake: Handshake, whole: Whole
) -> dict[Direction, Passage]:
    plane = LiveDataPlane(steps=whole.steps)
    await plane.start(ruleset)
    try:
        return await _sent_through(plane, ruleset, wire, handshake, whole.device)
    finally:
        await asyncio.to_thread(whole.before)
        await plane.stop()


async def _sent_through(
    plane: LiveDataPlane,
    ruleset: Ruleset,
    wire: Wire,
    handshake: Handshake,
    device: str,
) -> dict[Direction, Passage]:
    await plane.throttle([_FLOW])
    await plane.rearm()
    send_handshake(ruleset, wire, handshake)
    if not ruleset.enforce:
        return {}
    packets = {one: datagram(*_ends(one), b"trial") for one in Direction}
    with ExitStack() as stack:
        arrivals = {
            one: stack.enter_context(closing(_heard(ruleset, wire, one)))
            for one in Direction
        }
        for direction, packet in packets.items():
            _send(ruleset, wire, direction, [packet] * _PACKETS)
        deadline = time.monotonic() + _PATIENCE
        while True:
            counted = (await plane.counters()).diverted_packets
            shaped = await asyncio.to_thread(_shaped, device)
            came = {one: arrivals[one].count(packets[one]) for one in Direction}
            found = {
                one: Passage(_PACKETS, counted[one], shaped[one], came[one])
                for one in Direction
            }
            done = all(one.whole for one in found.values())
            if done or time.monotonic() > deadline:
                return found
            await asyncio.sleep(_STEP)


def _ends(direction: Direction) -> tuple[Endpoint, Endpoint]:
    """Of the flow that has a verdict: where a packet is from, and where it goes."""
    upload = direction is Direction.UPLOAD
    return (_SUBSCRIBER, _REMOTE) if upload else (_REMOTE, _SUBSCRIBER)


def _heard(ruleset: Ruleset, wire: Wire, direction: Direction) -> Arrivals:
    inward = hook_of(direction, ruleset) is HookPoint.INGRESS
    return wire.heard_in() if inward else wire.heard_out()


def send_handshake(ruleset: Ruleset, wire: Wire, handshake: Handshake) -> None:
    """Send a datagram each way, in a flow without a verdict.

    What comes in comes a second time, from an address that does not live there.
    """
    for direction, payload in handshake.items():
        ends = (_SUBSCRIBER._replace(port=_OTHER_PORT), _REMOTE)
        if direction is Direction.DOWNLOAD:
            ends = ends[::-1]
        packets = [datagram(*ends, payload)]
        if hook_of(direction, ruleset) is HookPoint.INGRESS:
            stray = ends[0]._replace(address=_STRAY)
            packets.insert(0, datagram(stray, ends[1], payload))
        _send(ruleset, wire, direction, packets)


def direction_of(packet: Packet) -> Direction | None:
    """Which message of the handshake a packet is; None for one of neither home."""
    homes = dict(zip(HOMES, Direction, strict=True))
    return homes.get(packet.source.address)


def _send(
    ruleset: Ruleset, wire: Wire, direction: Direction, packets: Sequence[bytes]
) -> None:
    inward = hook_of(direction, ruleset) is HookPoint.INGRESS
    (wire.send_in if inward else wire.send_out)(packets)


def _shaped(device: str) -> dict[Direction, int]:
    """Packets that have passed the classes of either direction."""
    passed = dict.fromkeys(Direction, 0)
    with IPRoute() as route, closing(Channel(ROUTE)) as channel:
        [index] = route.link_lookup(ifname=device)
        root = tc.queue_at(channel, index, tc.ROOT)
        found = read_classes(channel, index, root.major) if root else {}
        for number, one in found.items():
            passed[class_direction(number)] += one.packets
    return passed
