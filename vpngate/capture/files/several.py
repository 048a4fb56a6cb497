# SPDX-License-Identifier: GPL-2.0-or-later
"""Packets from their IP header on, out of a batch of frames of one link type.

Knows how to find the IP header behind the link layer, of one frame as `link_layers`
does it, and of many at once by the same table; does not know what stands in it. numpy
is loaded for the latter alone.
"""

from typing import TYPE_CHECKING, NamedTuple

from vpngate.capture.files.batch import DumpedFrames
from vpngate.link_layers import LAYOUTS, Layout, network_reader

if TYPE_CHECKING:
    from numpy import bool_, float64, int64, uint8
    from numpy.typing import NDArray

Network = tuple[bytes, float]  # from the IP header on; seconds, as in `Recorded`


class Headers(NamedTuple):
    """The beginnings of several packets, a row a packet.

    begin    so many bytes of each, as asked for, from its IP header on
    sizes    how many bytes there are of each
    times    seconds since the epoch
    are_so   whether a row says anything: the packet stands where that of the first row
             does, and has all those bytes
    """

    begin: "NDArray[uint8]"
    sizes: "NDArray[int64]"
    times: "NDArray[float64]"
    are_so: "NDArray[bool_]"


class Several:
    """A few packets, to be looked at by number."""

    def __init__(self, *networks: Network) -> None:
        self._networks = networks

    def __len__(self) -> int:
        return len(self._networks)

    def network(self, number: int) -> Network | None:
        """One packet; None if there is none, after all."""
        return self._networks[number]

    def headers(
        self,
        first: int,  # noqa: ARG002 - these are few, and have no columns
        last: int,  # noqa: ARG002
        size: int,  # noqa: ARG002
    ) -> Headers | None:
        """The first `size` bytes of the packets from one number to before another.

        None if they cannot be had in this way.
        """
        return None


class Networks(Several):
    """A batch behind its link layer, to be looked at by number."""

    def __init__(self, batch: DumpedFrames, link_type: int) -> None:
        super().__init__()
        self._batch = batch
        self._behind_link = network_reader(link_type)
        self._layouts = LAYOUTS.get(link_type, ())

    def __len__(self) -> int:
        return len(self._batch)

    def network(self, number: int) -> Network | None:
        """One packet; None if its frame holds none."""
        timestamp, frame = self._batch.frame(number)
        network = self._behind_link(frame)
        return (network, timestamp) if network else None

    def headers(self, first: int, last: int, size: int) -> Headers | None:
        """As there; they have to stand where the first of them does."""
        _, frame = self._batch.frame(first)
        usual = next(
            (n for n, each in enumerate(self._layouts) if _fits(frame, each)), None
        )
        if usual is None:
            return None
        start = self._layouts[usual].start
        rows = self._batch.rows(first, last, 0, start + size)
        sizes = self._batch.sizes(first, last) - start
        are_so = (sizes >= size) & _fit(rows, self._layouts[usual])
        for before in self._layouts[:usual]:
            are_so &= ~_fit(rows, before)
        return Headers(rows[:, start:], sizes, self._batch.times(first, last), are_so)


def _fits(frame: bytes, layout: Layout) -> bool:
    return all(frame[at : at + size] in values for at, size, values in layout.checks)


def _fit(rows: "NDArray[uint8]", layout: Layout) -> "NDArray[bool_]":
    """The same of many frames, each with enough bytes for it."""
    import numpy as np  # noqa: PLC0415 - few captures need it

    all_fit = np.ones(len(rows), bool)
    for at, size, values in layout.checks:
        column = np.zeros(len(rows), np.int64)
        for place in range(at, at + size):
            column = column << 8 | rows[:, place]
        fit = np.zeros(len(rows), bool)
        for value in values:
            fit |= column == int.from_bytes(value)
        all_fit &= fit
    return all_fit
