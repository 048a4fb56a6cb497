# SPDX-License-Identifier: GPL-2.0-or-later
"""Where each bucket waits: on which ifb, and in which pair of its classes.

Knows how places are numbered and dealt out; does not know whose they are, nor devices.

The kernel walks all classes of an ifb at each new one, so that buckets are spread over
many. A class's number (its low 16 bits) is a multiple of 16: it stays in the packet's
priority, of which the interface's own queue may read the low four bits to choose a
band (pfifo_fast, prio). With these clear every class is treated like plain traffic.
"""

from collections import deque

from vpngate.packets import Direction

IFBS = 64
SLOTS = 2047  # of an ifb: two classes each, the first numbers being the ifb's own
# So many buckets an ifb has before another one is opened: a new class costs little.
_ENOUGH = 256

_SLOT_BITS = 11
_STEP = 16  # between the numbers of two classes


def ifb_of(place: int) -> int:
    """The number of the ifb that a place is on."""
    return place >> _SLOT_BITS


def minor(place: int, direction: Direction) -> int:
    """The class (its low 16 bits) of a place in a direction."""
    pair = (place & ((1 << _SLOT_BITS) - 1)) * 2
    return (pair + (direction is Direction.DOWNLOAD)) * _STEP


def class_direction(number: int) -> Direction:
    """The direction of a class, by the low 16 bits of its number."""
    return Direction.DOWNLOAD if number & _STEP else Direction.UPLOAD


class IfbPlaces:
    """All places; on each of `ifbs` devices there are `slots`.

    spare  how many to keep `ready`: dealt out first, and kept when given back
    """

    def __init__(self, ifbs: int = IFBS, slots: int = SLOTS) -> None:
        self._ifbs = ifbs
        self._slots = slots
        # Of each ifb that is open: the slots that are free. First freed is first used
        # again, so that a number rests as long as possible.
        self._free: list[deque[int]] = []
        self._used: list[int] = []  # the ready ones among them
        self.ready: deque[int] = deque()
        self.spare = 0

    def take(self, bucket: bytes) -> int:
        """A place for a bucket: a free one, or, if there is none, one to be shared."""
        if self.ready:
            return self.ready.popleft()
        if (place := self._take_free()) is not None:
            return place
        # Whichever the address leads to: all are in use.
        slot, number = divmod(int.from_bytes(bucket, "big"), self._ifbs)
        return number << _SLOT_BITS | (slot % self._slots + 1)

    def give_back(self, place: int) -> None:
        """Nobody is at that place any more."""
        if len(self.ready) < self.spare:
            self.ready.append(place)
        else:
            self._free_again(place)

    def adjust(self) -> bool:
        """Have one more place ready, or give up those too many; whether one came."""
        while len(self.ready) > self.spare:
            self._free_again(self.ready.popleft())
        if len(self.ready) == self.spare or (place := self._take_free()) is None:
            return False
        self.ready.append(place)
        return True

    def _take_free(self) -> int | None:
        number = self._emptiest()
        if number is None or not self._free[number]:
            return None
        self._used[number] += 1
        return number << _SLOT_BITS | self._free[number].popleft()

    def _free_again(self, place: int) -> None:
        number = ifb_of(place)
        self._used[number] -= 1
        self._free[number].append(place & ((1 << _SLOT_BITS) - 1))

    def _emptiest(self) -> int | None:
        """The open ifb with the fewest buckets; a new one when all have enough."""
        least = min(self._used, default=self._slots)
        if least >= min(_ENOUGH, self._slots) and len(self._used) < self._ifbs:
            self._free.append(deque(range(1, self._slots + 1)))
            self._used.append(0)
            return len(self._used) - 1
        return self._used.index(least) if self._used else None
