# SPDX-License-Identifier: GPL-2.0-or-later
"""Who may have a connection, and who makes room when there are too many.

Knows fair shares: whoever has the most gives. Connections that wait for their caller
and those whose caller waits for us are counted apart, so that neither keeps the other
out. Who has asked and finds no room among the second keeps its place among the first
for a while: answers that many share end all at once. Does not know sockets or time.
"""

from collections.abc import Iterator
from ipaddress import IPv6Address, ip_address
from typing import Generic, Protocol, TypeVar

# Looks for which one waits for its turn. Not seconds: what nobody looked at is time for
# which the machine had us wait, too.
TURNS = 4


class Guest(Protocol):
    """A connection of a peer, as it holds a slot."""

    @property
    def peer(self) -> str:
        """The peer whose share it counts against."""

    @property
    def stalled(self) -> bool:
        """Whether the caller does not read its answer."""

    @property
    def in_the_making(self) -> bool:
        """Whether its answer is still to come, from us."""

    def begin(self) -> None:
        """Have it answered: its turn has come."""

    def refuse(self) -> None:
        """Tell it that its turn has not come."""

    def drop(self) -> None:
        """End it."""


_G = TypeVar("_G", bound=Guest)


def peer_of(address: str) -> str:
    """Whose share an address counts against: of IPv6, where one has many, its /64."""
    parsed = ip_address(address.partition("%")[0])
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return f"{int(parsed) >> 64:x}/64"
    return str(parsed)


class Slots(Generic[_G]):
    """At most `limit` connections, by peer, the oldest first."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._count = 0
        self._peers: dict[str, dict[_G, None]] = {}

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[_G]:
        return (guest for of_one in self._peers.values() for guest in of_one)

    def take(self, guest: _G) -> None:
        """Give it a slot, even beyond the limit."""
        self._peers.setdefault(guest.peer, {})[guest] = None
        self._count += 1

    def leave(self, guest: _G) -> bool:
        """Free its slot. Returns whether it had one."""
        of_one = self._peers.get(guest.peer, {})
        if guest not in of_one:
            return False
        del of_one[guest]
        self._count -= 1
        if not of_one:
            del self._peers[guest.peer]
        return True

    def of(self, peer: str) -> list[_G]:
        """Returns the peer's connections, the oldest first."""
        return list(self._peers.get(peer, ()))

    def heaviest(self) -> list[_G]:
        """Returns the connections of the peer that has most, the oldest first."""
        most = max(map(len, self._peers.values()), default=0)
        each = (one for one in self._peers.values() if len(one) == most)
        return list(next(each, ()))


class Admission(Generic[_G]):
    """Slots for connections that wait for their caller, and for those we answer."""

    def __init__(self, *, waiting: int, answering: int) -> None:
        self._waiting = Slots[_G](waiting)
        self._answering = Slots[_G](answering)
        self._lingering = Slots[_G](waiting)  # beside those that wait: both together
        # Of those that wait, who has asked and waits for us, the first to ask first,
        # and how often it has been looked at since.
        self._queue: dict[_G, int] = {}

    def all(self) -> list[_G]:
        """Returns every connection that has a slot."""
        return [*self._waiting, *self._answering, *self._lingering]

    def wait(self, guest: _G) -> None:
        """Give a slot to one that waits for its caller's request.

        If there are too many, those that linger are closed first. Then of the peer
        that has most the first one that waits for its turn, or else the oldest.
        """
        self._make_room()
        self._waiting.take(guest)

    def linger(self, guest: _G) -> None:
        """Keep the slot of one that has its answer until its caller hangs up."""
        self.leave(guest)
        self._make_room()
        self._lingering.take(guest)

    def answer(self, guest: _G) -> bool:
        """Give a slot to one that we are to answer. Returns whether there is room.

        If there is none, an answer that nobody reads is dropped, or one of a peer that
        has at least two more than this one. Nobody else is interrupted.
        """
        if len(self._answering) >= self._answering.limit:
            heaviest, own = self._answering.heaviest(), self._answering.of(guest.peer)
            stalled = [each for each in (*heaviest, *own) if each.stalled]
            if len(heaviest) > len(own) + 1:
                stalled.append(heaviest[0])
            if not stalled:
                return False
            self._end(stalled[0])
        self._free(guest)
        self._answering.take(guest)
        return True

    def queue(self, guest: _G) -> bool:
        """Have one that is to be answered wait for its turn, in the slot that it has.

        Returns whether it may: not behind callers alone, who take what time they like.
        """
        if not self._any_in_the_making():
            return False
        self._queue[guest] = 0
        return True

    def look(self) -> None:
        """Refuse those that have waited for their turn for long enough, or in vain."""
        in_vain = bool(self._queue) and not self._any_in_the_making()
        for guest in list(self._queue):
            if guest not in self._queue:  # its turn has come
                continue
            self._queue[guest] += 1
            if in_vain and self.answer(guest):
                guest.begin()
            elif in_vain or self._queue[guest] > TURNS:
                self._refuse(guest)

    def leave(self, guest: _G) -> None:
        """Free its slot; whose turn it is has it, if it is one for an answer."""
        self._free(guest)
        while self._queue and len(self._answering) < self._answering.limit:
            first = next(iter(self._queue))
            self._free(first)
            self._answering.take(first)
            first.begin()

    def _any_in_the_making(self) -> bool:
        return any(each.in_the_making for each in self._answering)

    def _make_room(self) -> None:
        if len(self._waiting) + len(self._lingering) < self._waiting.limit:
            return
        some = self._lingering.heaviest() or self._waiting.heaviest()
        goes = some[0]
        if self._queue:
            goes = next((each for each in some if each in self._queue), goes)
        if goes in self._queue:
            self._refuse(goes)
        self._end(goes)

    def _refuse(self, guest: _G) -> None:
        del self._queue[guest]
        guest.refuse()

    def _end(self, guest: _G) -> None:
        self._free(guest)
        guest.drop()

    def _free(self, guest: _G) -> None:
        self._queue.pop(guest, None)
        for seats in (self._waiting, self._answering, self._lingering):
            if seats.leave(guest):
                return
