# SPDX-License-Identifier: GPL-2.0-or-later
"""How a verdict stands in the table's maps.

Knows key and value of its elements; does not know when they come and go.
"""

import struct
from collections.abc import Callable

from vpngate.kernel.detour.verdicts import HeldVerdict
from vpngate.kernel.wire.elements import Element
from vpngate.packets import Direction
from vpngate.ruleset import names


def verdict_elements(
    held: HeldVerdict, class_id: Callable[[int, Direction], int]
) -> list[tuple[str, Element]]:
    """The elements of a verdict, one a direction, and the maps they are in.

    `class_id` tells the class of a place in a direction.
    """
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
        number = class_id(held.place, direction) if held.device else 0
        value = struct.pack("=II", number, held.device)
        name = names.verdict_map(direction, flow.subscriber.family, flow.transport)
        found.append((name, Element(key, float(flow.idle), value)))
    return found
