# SPDX-License-Identifier: GPL-2.0-or-later
"""Running traffic of a tunnel that was found, which nothing new can be learned from.

Knows ESP's header (RFC 4303, section 2: SPI, sequence number) behind an IP header
without options, and what the flow table says of flows that have settled. A long tunnel
is millions of packets, each of which only moves a number forward: of those that stand
in a row the last two of each SPI leave the table as all of them would, so they alone
are handed on, and only once a packet comes that may matter. What does not fit in every
detail is such a packet.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from math import inf
from struct import Struct
from typing import TYPE_CHECKING

from vpngate.capture.files.several import Network, Several
from vpngate.flows import FlowTable
from vpngate.flows.running import FASTEST
from vpngate.packets import FlowKey, Transport
from vpngate.recognition import Heard, Role, Tunnel

if TYPE_CHECKING:
    from vpngate.capture.esp_columns import KnownSequences

_IPV4_PLAIN, _IPV6_VERSION = 0x45, 6
_IPV4 = Struct(">2xH2xHxB10xII")  # total length, fragment; protocol; SPI, number
_IPV4_HEADER, _IPV4_IN_PARTS = 20, 0x3FFF
_IPV4_KEY = slice(12, 24)  # both addresses and the SPI
_IPV6 = Struct(">4xHB33xII")  # payload length, next header; SPI, number
_IPV6_KEY = slice(8, 44)
_ESP = 50
# Our own limits: shorter packets go the long way, and longer ones (what offloads have
# joined: too much to keep of each stream); more streams than this are forgotten. A flow
# that is to be looked at soon is looked at a little early: sums of seconds are rounded.
_LEAST = 64  # bytes from the SPI on, and of what a capture holds of a packet
_MOST = 2048  # bytes from the IP header on
_MOST_STREAMS = 10_000
_EARLY = 0.01  # seconds
_NUMBERS = 1 << 32
# So many packets at least are looked at together, after so many at most that were taken
# singly; and so many are to be expected: one by one they take longer than loading numpy
# does. What has become of fewer than a thousand tells nothing.
_AT_ONCE, _SELDOMEST = 32, 10_000
_WORTHWHILE, _TELLING = 20_000, 1000


class _Flow:
    """What the streams of one flow share: until when it is settled, its last packet."""

    __slots__ = ("last_seen", "streams", "until")

    def __init__(self, last_seen: float, until: float) -> None:
        self.last_seen = last_seen
        self.until = until
        self.streams: list[bytes] = []


class _Stream:
    """One SPI: the highest number that the table knows, and what came after it."""

    __slots__ = ("ahead", "before", "flow", "highest", "last")

    def __init__(self, flow: _Flow, highest: int) -> None:
        self.flow = flow
        self.highest = highest
        self.ahead = 0
        self.before: tuple[int, Network] | None = None
        self.last: tuple[int, Network] | None = None


_NOBODY = _Stream(_Flow(-inf, -inf), 0)


class Steady:
    """Keeps back what a flow table need not see; see above.

    Whoever feeds the table with what `remaining` leaves tells `follow` of each packet.
    """

    def __init__(
        self, table: FlowTable, fraction: Callable[[], float | None] = lambda: None
    ) -> None:
        """`fraction` is how much has been read of all there is; None if unknown."""
        self._table = table
        self._fraction = fraction
        self._streams: dict[bytes, _Stream] = {}
        self._flows: dict[FlowKey, _Flow] = {}
        self._holding: dict[_Stream, None] = {}
        self._count = 0
        self._in_a_row = 0
        self._due = _AT_ONCE  # so many of them before many are looked at together
        self._pushed_out = 0

    def remaining(self, batches: Iterable[Several]) -> Iterator[Network]:
        """What the table has to see, in order."""
        for batch in batches:
            at, end = 0, len(batch)
            is_worthwhile = end >= _AT_ONCE and self._expected() >= _WORTHWHILE
            while at < end:
                if is_worthwhile and self._in_a_row >= self._due:
                    at += self._taken_at_once(batch, at)
                held = batch.network(at) if at < end else None
                at += 1
                if held is None:
                    continue
                if self.takes(held):
                    self._in_a_row += 1
                else:
                    self._in_a_row = 0
                    yield from self._held_back()
                    yield held

    def _expected(self) -> float:
        """How many will have been taken in the end, if it goes on like this.

        Where nobody knows how much is to come: as many again.
        """
        if self._count < _TELLING:
            return self._count
        fraction = self._fraction()
        return self._count / fraction if fraction else 2 * self._count

    def takes(self, held: Network) -> bool:
        """Whether a packet need not be looked at now; then it is kept back."""
        network, now = held
        if not self._streams or not _LEAST <= len(network) <= _MOST:
            return False
        key, number = _named(network)
        stream = self._streams.get(key)
        if stream is None:
            return False
        flow = stream.flow
        ahead = (number - stream.highest) % _NUMBERS
        if (
            not stream.ahead < ahead <= FASTEST
            or not flow.last_seen <= now < flow.until
        ):
            return False
        flow.last_seen = now
        stream.ahead = ahead
        stream.before = stream.last
        stream.last = self._count, held
        self._count += 1
        self._holding[stream] = None
        return True

    def _taken_at_once(self, batch: Several, first: int) -> int:
        """How many packets from there on `takes` would take; then they are taken.

        Not more are looked at than were just taken in a row, so that no time is lost
        where many things mix.
        """
        most = min(len(batch) - first, self._in_a_row)
        if most < _AT_ONCE:
            return 0
        from vpngate.capture import esp_columns  # noqa: PLC0415 - numpy comes with it

        row = esp_columns.columns(batch, (first, first + most), (_LEAST, _MOST))
        if row is None:
            self._took(0)
            return 0
        streams = [self._streams.get(name, _NOBODY) for name in row.names]
        ahead = esp_columns.steps_ahead(row, _known(streams), FASTEST)
        for name, before, last in esp_columns.last_two(row.of[: len(ahead)]):
            stream = streams[name]
            for place in (last,) if before is None else (before, last):
                held = batch.network(first + place)
                if held is not None:
                    stream.before = stream.last
                    stream.last = self._count + place, held
            stream.ahead = int(ahead[last])
            stream.flow.last_seen = max(stream.flow.last_seen, float(row.times[last]))
            self._holding[stream] = None
        self._count += len(ahead)
        self._took(len(ahead))
        return len(ahead)

    def _took(self, count: int) -> None:
        """So many were taken together.

        Where rows end soon, say by tags in one direction alone, a look costs more than
        it saves: the next one is due after twice as many taken singly.
        """
        if count < _AT_ONCE:
            self._in_a_row = 0
            self._due = min(2 * self._due, _SELDOMEST)
        else:
            self._in_a_row += count
            self._due = _AT_ONCE

    def _held_back(self) -> Iterator[Network]:
        """What the table has to see before any other packet, in order."""
        if not self._holding:
            return
        kept = [
            held
            for stream in self._holding
            for held in (stream.before, stream.last)
            if held is not None
        ]
        for stream in self._holding:
            stream.highest = (stream.highest + stream.ahead) % _NUMBERS
            stream.ahead = 0
            stream.before = stream.last = None
        self._holding.clear()
        for _, held in sorted(kept, key=lambda one: one[0]):
            yield held

    def follow(self, tunnel: Tunnel, heard: Heard) -> None:
        """Take in that the table has seen this."""
        if self._table.pushed_out != self._pushed_out:
            self._pushed_out = self._table.pushed_out
            self._clear()
        key = heard.packet.flow
        if heard.message.role is not Role.TRAFFIC or key.transport is not Transport.ESP:
            return
        known = self._flows.pop(key, None)
        for stream in known.streams if known else ():
            del self._streams[stream]
        settled = self._table.settled(tunnel, key)
        if settled is None or settled.is_ambiguous:
            return
        if len(self._streams) > _MOST_STREAMS:
            self._clear()
        flow = _Flow(settled.last_seen, settled.until - _EARLY)
        ends = (key.low.address, key.high.address)
        for by_low, token, number in settled.streams:
            addresses = ends if by_low else reversed(ends)
            name = b"".join((*addresses, token))
            flow.streams.append(name)
            self._streams[name] = _Stream(flow, number)
        self._flows[key] = flow

    def _clear(self) -> None:
        self._streams.clear()
        self._flows.clear()


def _known(streams: Sequence[_Stream]) -> "KnownSequences":
    """What `esp_columns` has to know of these."""
    from vpngate.capture import esp_columns  # noqa: PLC0415 - it is loaded by now

    flows = {stream.flow: number for number, stream in enumerate(streams)}
    return esp_columns.known(
        [stream.highest for stream in streams],
        [stream.ahead for stream in streams],
        [flows[stream.flow] for stream in streams],
        [stream.flow.last_seen for stream in streams],
        [stream.flow.until for stream in streams],
    )


def _named(network: bytes) -> tuple[bytes, int]:
    """Addresses and SPI of a whole, plain packet of ESP, and its number; or nothing."""
    if network[0] == _IPV4_PLAIN:
        length, parts, protocol, _, number = _IPV4.unpack_from(network)
        if protocol == _ESP and length >= _IPV4_HEADER + _LEAST:
            return (b"" if parts & _IPV4_IN_PARTS else network[_IPV4_KEY]), number
    elif network[0] >> 4 == _IPV6_VERSION:
        length, protocol, _, number = _IPV6.unpack_from(network)
        if protocol == _ESP and length >= _LEAST:
            return network[_IPV6_KEY], number
    return b"", 0
