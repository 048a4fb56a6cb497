# SPDX-License-Identifier: GPL-2.0-or-later
"""How verdicts stand in the table's maps, and the changes that put or end them there.

Knows key and value of their elements; does not know when they come and go.
"""

import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from vpngate.kernel.detour.verdict_lines import VerdictLines
from vpngate.kernel.detour.verdicts import HeldVerdict
from vpngate.kernel.table.owned import OwnedTable
from vpngate.kernel.wire import elements
from vpngate.kernel.wire.channel import Change
from vpngate.kernel.wire.elements import Element
from vpngate.packets import Direction
from vpngate.ruleset import names


class FlowStore(Protocol):
    """Where verdicts are kept for packets: the changes that put them there, and back.

    A name stands for one of several maps.
    """

    def adding(self, held: HeldVerdict) -> list[Change]:
        """The changes that put a verdict there."""
        ...

    def ending(self, which: Iterable[HeldVerdict]) -> list[Change]:
        """The changes that end verdicts, whether or not the kernel has ended them."""
        ...

    def deleting(self, name: str, which: Iterable[Element]) -> list[Change]:
        """The changes that delete elements that are there, whatever they lead to."""
        ...

    def deleting_found(self, held: HeldVerdict) -> list[Change]:
        """The changes that delete what the kernel has of a verdict, whatever it is."""
        ...

    def found(self, which: Sequence[HeldVerdict]) -> list[list[bytes | None]]:
        """What the kernel has of each verdict, an answer a direction."""
        ...

    def remaining(self, answer: bytes) -> float:
        """Seconds that a verdict has left, by such an answer."""
        ...

    def elements_of(self, held: HeldVerdict) -> list[tuple[str, Element]]:
        """The elements of a verdict, one a direction, and the maps they are in."""
        ...

    def tidy(self, now: float, *, held: bool) -> None:
        """Spare packets the question for a verdict where none is `held`; each 5 s."""
        ...


class Committing(Protocol):
    """What makes changes of verdicts, all or none."""

    def commit(self, changes: Sequence[Change]) -> None:
        """Make them; an error of the machine's where that cannot be."""
        ...


class VerdictMaps:
    """The maps of one table, from flows to classes, and the `lines` that ask them.

    `class_id` tells the class of a place in a direction.
    """

    def __init__(
        self,
        table: OwnedTable,
        class_id: Callable[[int, Direction], int],
        lines: VerdictLines,
    ) -> None:
        self._table = table
        self._class_id = class_id
        self._lines = lines

    def adding(self, held: HeldVerdict) -> list[Change]:
        """The changes that put a verdict there."""
        changes: list[Change] = []
        for name, element in self.elements_of(held):
            changes += elements.add(self._table.name, name, [element])
        return changes

    def ending(self, which: Iterable[HeldVerdict]) -> list[Change]:
        """The changes that end verdicts, whether or not the kernel has ended them.

        Add, then delete: deleting alone fails if the kernel was faster.
        """
        places: dict[str, list[Element]] = {}
        for held in which:
            for name, element in self.elements_of(held):
                places.setdefault(name, []).append(element)
        changes: list[Change] = []
        for name, each in places.items():
            changes += elements.add(self._table.name, name, each)
            changes += self.deleting(name, each)
        return changes

    def deleting(self, name: str, which: Iterable[Element]) -> list[Change]:
        """The changes that delete elements that are there, whatever they lead to."""
        keys = [Element(element.key) for element in which]
        return elements.delete(self._table.name, name, keys)

    def deleting_found(self, held: HeldVerdict) -> list[Change]:
        """The changes that delete what the kernel has of a verdict, whatever it is."""
        changes: list[Change] = []
        [there] = self.found([held])
        for (name, element), answer in zip(self.elements_of(held), there, strict=True):
            if answer is not None:
                changes += self.deleting(name, [element])
        return changes

    def found(self, which: Sequence[HeldVerdict]) -> list[list[bytes | None]]:
        """What the kernel has of each verdict, an answer a direction."""
        places = [
            (name, element.key)
            for held in which
            for name, element in self.elements_of(held)
        ]
        answers = iter(self._table.find(places))
        return [[next(answers) for _ in held.flow.directions] for held in which]

    def remaining(self, answer: bytes) -> float:
        """Seconds that a verdict has left, by such an answer."""
        return elements.remaining(answer) or 0.0

    def elements_of(self, held: HeldVerdict) -> list[tuple[str, Element]]:
        """The elements of a verdict, one a direction, and the maps they are in."""
        flow = held.flow
        found = []
        for direction in flow.directions:
            ends = (flow.subscriber, flow.remote)
            if direction is Direction.DOWNLOAD:
                ends = ends[::-1]
            key = b"".join(end.address for end in ends)
            if flow.transport.has_ports:
                key += b"".join(end.port.to_bytes(2, "big") for end in ends)
            # Without an ifb there is no class either, which rules take for no verdict.
            number = self._class_id(held.place, direction) if held.device else 0
            value = struct.pack("=II", number, held.device)
            name = names.verdict_map(direction, flow.subscriber.family, flow.transport)
            found.append((name, Element(key, float(flow.idle), value)))
        return found

    def tidy(self, now: float, *, held: bool) -> None:
        """Have no line ask where none has been `held` for long."""
        self._lines.look_after(now, held=held)
