# SPDX-License-Identifier: GPL-2.0-or-later
"""What is to be said of each flow of a capture, within a bound of bytes.

Knows one line a flow, over all the times the flow table has followed it, and which one
is told early when there is no room left; does not know what makes a flow a tunnel, nor
where packets come from.
"""

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from vpngate.capture.account import Account
from vpngate.packets import FlowKey, Packet
from vpngate.recognition import Crossing, Sighting, Tunnel

# What is kept of a flow, without its account: CPython's overhead included, with IPv6
# addresses. A test measures it.
SUMMARY_BYTES = 1000
_NOWHERE = Crossing()


class Replayed(NamedTuple):
    """A flow with evidence, as it stands when it is told.

    `account` says what was heard on it, where that was asked for.
    """

    sighting: Sighting
    account: Account | None = None


@dataclass(slots=True)
class _Flow:
    """What is known of a flow of one tunnel."""

    first_seen: float
    best: Sighting
    latest_from: float
    handshakes: int
    handshakes_before: int = 0
    account: Account | None = None

    def add(self, sighting: Sighting) -> None:
        if sighting.first_seen != self.latest_from:
            # The table had forgotten the flow, idle as it was: it counts anew.
            self.handshakes_before += self.handshakes
        if sighting.withdrawn or _rank(sighting) > _rank(self.best):
            self.best = sighting
        self.latest_from = sighting.first_seen
        self.handshakes = sighting.handshakes

    @property
    def bytes_used(self) -> int:
        return SUMMARY_BYTES + (self.account.bytes_used if self.account else 0)

    def told(self) -> Replayed:
        sighting = self.best._replace(
            first_seen=self.first_seen,
            handshakes=self.handshakes_before + self.handshakes,
        )
        return Replayed(sighting, self.account)


@dataclass(slots=True)
class _Entry:
    """The tunnels that were seen on one flow, nearly always one."""

    number: int  # in order of appearance
    flows: list[_Flow] = field(default_factory=list)

    def of(self, tunnel: Tunnel) -> _Flow | None:
        return next((f for f in self.flows if f.best.tunnel is tunnel), None)

    @property
    def bytes_used(self) -> int:
        return sum(flow.bytes_used for flow in self.flows)

    def told(self) -> Replayed:
        """Of two tunnels the one with better evidence, else the first."""
        return max(
            (flow.told() for flow in self.flows), key=lambda f: _rank(f.sighting)
        )


class Summaries:
    """The flows of a capture; what is more than `max_bytes` leaves through `surplus`.

    The flow that nothing was heard of for longest leaves first. If one that has left
    is sighted again it is told a second time. `accounts` asks for what was heard, too.
    """

    def __init__(self, max_bytes: int, *, accounts: bool = False) -> None:
        self._entries: OrderedDict[FlowKey, _Entry] = OrderedDict()
        self._max_bytes = max_bytes
        self._accounts = accounts
        self._bytes = 0
        self._count = 0

    @property
    def bytes_used(self) -> int:
        """An estimate of the memory that is taken."""
        return self._bytes

    def sight(self, sighting: Sighting) -> None:
        """Take in what the flow table says of a flow."""
        # Hooks are of no interest here, and one set of them would take 200 bytes.
        sighting = sighting._replace(crossing=_NOWHERE)
        entry = self._entries.get(sighting.flow)
        if entry is None:
            entry = self._entries[sighting.flow] = _Entry(self._count)
            self._count += 1
        self._entries.move_to_end(sighting.flow)
        flow = entry.of(sighting.tunnel)
        if flow is not None:
            flow.add(sighting)
            return
        first_seen = sighting.first_seen
        flow = _Flow(first_seen, sighting, first_seen, sighting.handshakes)
        if self._accounts:
            flow.account = Account(sighting.tunnel)
        entry.flows.append(flow)
        self._bytes += flow.bytes_used

    @contextmanager
    def account(self, tunnel: Tunnel, key: FlowKey) -> Iterator[Account | None]:
        """The account of a flow, to be added to; None if there is none."""
        entry = self._entries.get(key)
        flow = entry.of(tunnel) if entry else None
        if entry is None or flow is None or flow.account is None:
            yield None
            return
        self._entries.move_to_end(key)
        before = flow.bytes_used
        yield flow.account
        self._bytes += flow.bytes_used - before

    def pass_by(self, packet: Packet, now: float) -> bool:
        """Take in a packet that is no message; whether it is one of a known flow."""
        key = packet.flow
        entry = self._entries.get(key)
        for flow in entry.flows if entry else ():
            with self.account(flow.best.tunnel, key) as account:
                if account is not None:
                    account.pass_by(packet, now)
        return entry is not None

    def surplus(self) -> Iterator[Replayed]:
        """The flows that there is no room for; they are no longer known."""
        while self._bytes > self._max_bytes:
            _, entry = self._entries.popitem(last=False)
            self._bytes -= entry.bytes_used
            yield entry.told()

    def rest(self) -> Iterator[Replayed]:
        """All the others, in order of appearance."""
        for entry in sorted(self._entries.values(), key=lambda entry: entry.number):
            yield entry.told()


def _rank(sighting: Sighting) -> tuple[int, bool]:
    return sighting.evidence, sighting.one_way
