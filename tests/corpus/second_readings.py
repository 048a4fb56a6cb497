# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether both readers see the same in every packet of real captures.

Knows how to hold them against each other, packet by packet; does not know labels: what
is read wrongly by both is the score's business.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from vpngate.capture.replay import Replay
from vpngate.errors import UnreadableInput
from vpngate.tunnels import all_tunnels


@dataclass
class Readings:
    """Messages that both readers read alike, by tunnel, and those they do not."""

    same: dict[str, int] = field(default_factory=dict)
    different: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return ", ".join(f"{name} {count}" for name, count in self.same.items())


def compare(captures: Iterable[Path]) -> Readings:
    """Read each candidate by both readers of each tunnel."""
    tunnels = all_tunnels()
    replay, readings = Replay(tunnels), Readings()
    second = {tunnel: tunnel.second() for tunnel in tunnels}
    for path in captures:
        try:
            for packet, _ in replay.open(path):
                for tunnel in tunnels:
                    one, other = tunnel.read(packet), second[tunnel](packet)
                    seen = other.message if other is not None else None
                    if one != seen:
                        readings.different.append(f"{path}: {one} or {seen}")
                    elif one is not None:
                        count = readings.same.get(tunnel.name, 0)
                        readings.same[tunnel.name] = count + 1
        except UnreadableInput:
            continue  # what came before the damage counts
    return readings
