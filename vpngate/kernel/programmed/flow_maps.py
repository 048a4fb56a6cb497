# SPDX-License-Identifier: GPL-2.0-or-later
"""How verdicts stand in the hashes that programs ask, and the changes that put them.

Knows key and value of their elements; does not know when they come and go. See
`detour/verdict_maps.py`, whose names it answers to. The kernel takes nothing out by
itself: what has ended is taken out when somebody asks for it.
"""

import struct
import time
from collections.abc import Callable, Iterable, Sequence

from vpngate.kernel.bpf.plane_maps import UNTIL_AT, VERDICT
from vpngate.kernel.detour.verdict_maps import FlowStore
from vpngate.kernel.detour.verdicts import HeldVerdict
from vpngate.kernel.programmed.flow_bits import FlowBits, FlowPlace
from vpngate.kernel.wire.channel import Change
from vpngate.kernel.wire.elements import Element
from vpngate.packets import Direction

_SECOND = 10**9
_WHAT = "verdict"


class FlowMaps(FlowStore):
    """The hashes of one plane; `class_id` tells the class of a place in a direction."""

    def __init__(
        self, flows: FlowBits, class_id: Callable[[int, Direction], int]
    ) -> None:
        self._flows = flows
        self._class_id = class_id

    def adding(self, held: HeldVerdict) -> list[Change]:
        """The changes that put a verdict there, or start its time anew."""
        return [
            Change(
                FlowPlace(Direction(name), element.key).putting(element.value or b""),
                _WHAT,
            )
            for name, element in self.elements_of(held)
        ]

    def ending(self, which: Iterable[HeldVerdict]) -> list[Change]:
        """The changes that end verdicts, whether or not they have ended."""
        return [
            Change(FlowPlace(Direction(name), element.key).taking_out(), _WHAT)
            for held in which
            for name, element in self.elements_of(held)
        ]

    def deleting(self, name: str, which: Iterable[Element]) -> list[Change]:
        """The changes that take elements out."""
        return [
            Change(FlowPlace(Direction(name), one.key).taking_out(), _WHAT)
            for one in which
        ]

    def deleting_found(self, held: HeldVerdict) -> list[Change]:
        """The changes that take out what there is of a verdict."""
        return self.ending([held])

    def found(self, which: Sequence[HeldVerdict]) -> list[list[bytes | None]]:
        """What lives of each verdict, an answer a direction."""
        now = time.monotonic_ns()
        answers: list[list[bytes | None]] = []
        for held in which:
            own: list[bytes | None] = []
            for name, element in self.elements_of(held):
                place = FlowPlace(Direction(name), element.key)
                value = self._flows.get(place)
                if value is not None and _until(value) <= now:
                    self._flows.take_out(place)
                    value = None
                own.append(value)
            answers.append(own)
        return answers

    def remaining(self, answer: bytes) -> float:
        """Seconds that a verdict has left, if no packet comes."""
        return max(0.0, (_until(answer) - time.monotonic_ns()) / _SECOND)

    def elements_of(self, held: HeldVerdict) -> list[tuple[str, Element]]:
        """The elements of a verdict, one a direction, and the maps they are in."""
        flow = held.flow
        found = []
        for direction in flow.directions:
            ends = (flow.subscriber, flow.remote)
            if direction is Direction.DOWNLOAD:
                ends = ends[::-1]
            key = b"".join(end.address for end in ends)
            key += b"".join(end.port.to_bytes(2, "big") for end in ends)
            key += struct.pack("=I", flow.transport)
            number = self._class_id(held.place, direction) if held.device else 0
            until = time.monotonic_ns() + flow.idle * _SECOND
            value = struct.pack(VERDICT, number, held.device, flow.idle, 0, until)
            found.append((str(direction), Element(key, float(flow.idle), value)))
        return found

    def tidy(self, now: float, *, held: bool) -> None:
        """Nothing: bits tell a packet that no verdict can be there (`FlowBits`)."""


def _until(value: bytes) -> int:
    (until,) = struct.unpack_from("=Q", value, UNTIL_AT)
    return int(until)
