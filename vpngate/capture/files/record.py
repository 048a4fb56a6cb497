# SPDX-License-Identifier: GPL-2.0-or-later
"""What the readers of capture formats (`pcap.py`, `pcapng.py`) have in common.

Knows a record and how a stream breaks; does not know any format. Memory is bounded
whatever a stream claims: a record larger than any capture's is damage.
"""

from collections.abc import Callable
from typing import NamedTuple

Read = Callable[[int], bytes]  # up to so many bytes, none at the end
Test = Callable[[bytes], bool]
Wanted = Callable[[int], Test | None]  # a link type's test of frames, if any can pass

# Our own limits.
CHUNK = 1 << 20  # bytes asked for at a time
MOST_FRAME = 256 << 10  # bytes; libpcap's MAXIMUM_SNAPLEN


class Record(NamedTuple):
    """A captured frame."""

    link_type: int
    timestamp: float  # seconds since the epoch; 0.0 where the file states none
    frame: bytes


class Damage(Exception):
    """The stream breaks here; what was read before it stands."""
