# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemon over programs, writing down when each verdict came into force.

    python -m bench.noting FILE --config FILE --socket FILE

The kernel announces elements of nftables; of maps it says nothing. So it is noted
behind the call that writes a verdict, when both its directions are there: UDP over IPv4
alone.
All else is the daemon as it is.
"""

import struct
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.verdict_news import RECORD
from tests.lab import by_filters
from vpngate.cli import main
from vpngate.kernel.programmed.flow_bits import FlowBits, FlowPlace
from vpngate.packets import Direction, Family, Transport

_TRANSPORT = struct.Struct("=I")


def note_in(path: Path) -> None:
    """From now on, in this process."""
    file = path.open("ab", buffering=0)
    change_all = FlowBits.change_all

    def noting(self: FlowBits, changes: Sequence[bytes]) -> None:
        change_all(self, changes)
        now = time.monotonic()
        file.write(b"".join(RECORD.pack(key, now) for key in _put(changes)))

    FlowBits.change_all = noting  # type: ignore[method-assign]


def _put(changes: Sequence[bytes]) -> Iterator[bytes]:
    for change in changes:
        place, value = FlowPlace.of(change)
        if value is None or place.direction is not Direction.UPLOAD:
            continue
        ends, (transport,) = place.key[:12], _TRANSPORT.unpack(place.key[-4:])
        if place.family is Family.IPV4 and transport == Transport.UDP:
            yield ends


if __name__ == "__main__":
    note_in(Path(sys.argv[1]))
    by_filters.as_asked()
    sys.exit(main(["run", *sys.argv[2:]]))
