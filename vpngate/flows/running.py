# SPDX-License-Identifier: GPL-2.0-or-later
"""Running traffic on one flow: whether its sequence numbers grow as a tunnel's do.

Knows sequence numbers, the steps between them and who sent them. A single packet that
does not fit is a contradiction. Does not know protocols, handshakes, or how long
anything is kept.
"""

from typing import NamedTuple

from vpngate.recognition import Crossing, Gate, Heard

# Our own limits. Sequences of a flow that are followed: two tunnels between the same
# ends, or one before and after it took new keys, each direction seen at two gates.
MOST_SEQUENCES = 8
# Steps forward that an end has to make, and how small they are: what the fastest
# tunnel sends between two copies, which may be looked at late and together.
STEPS = 2
FASTEST = 1 << 20  # packets a second
_LATEST = 1.0  # seconds
# How far behind a packet may come and still be of this sequence: the larger of the two
# windows that receivers keep (RFC 4303, section 3.4.3). It proves nothing.
_LATE = 64
_SEQUENCE_SPACE = 1 << 32
_KEPT = 64  # bytes of a packet, from its own header on: more than is read again


ECHO = "both ends sent the same bytes: an echo"


class Contradiction(Exception):
    """A packet that no tunnel sends on a flow that was taken for one; says why."""


class Stream(NamedTuple):
    """One end's packets of one token, and the highest number among them."""

    by_low: bool
    token: bytes
    highest: int


class _Place(NamedTuple):
    """What tells one sequence from another: sender, gate and token."""

    by_low: bool
    gate: Gate | None
    token: bytes


class _Sequence(NamedTuple):
    """One direction of running traffic, at one gate."""

    highest: Heard
    seen: float  # seconds
    before: Heard | None = None  # what it stepped forward from
    steps: int = 0  # forward, since it was last part of a confirmation


class RunningTraffic:
    """What is remembered of the packets of one flow that look all the same."""

    __slots__ = ("_sequences",)

    def __init__(self) -> None:
        self._sequences: dict[_Place, _Sequence] = {}

    def __len__(self) -> int:
        return len(self._sequences)

    def take(
        self, heard: Heard, now: float, gate: Gate | None, *, by_low: bool
    ) -> None:
        """Take a packet in; raises Contradiction if it cannot be of a tunnel."""
        heard = _cut(heard)
        place = _Place(by_low, gate, heard.message.token)
        self._refuse_echo(heard, place)
        known = self._sequences.pop(place, None)
        self._sequences[place] = _continued(known, heard, now)
        if len(self._sequences) > MOST_SEQUENCES:
            del self._sequences[next(iter(self._sequences))]

    def evidence(self) -> tuple[Heard, ...]:
        """Returns packets that show that both ends go on, the lower end's first.

        Returns none if one end does not go on, or both do at the same gate. Between two
        subscribers a packet is seen twice: then it has to go on at both gates. Steps
        count until `spend` is called.
        """
        low, high = (self._advanced(by_low=end) for end in (True, False))
        seen = {(place.by_low, place.gate) for place in self._sequences}
        advanced = {(place.by_low, place.gate) for place in (*low, *high)}
        if not low or not high or advanced != seen or not self.crossing.is_opposite:
            return ()
        return (*_shown(low), *_shown(high))

    @property
    def streams(self) -> tuple["Stream", ...]:
        """What is followed, wherever it was seen, and how far it has come."""
        return tuple(
            Stream(place.by_low, place.token, sequence.highest.message.sequence)
            for place, sequence in self._sequences.items()
        )

    @property
    def crossing(self) -> Crossing:
        """The hooks at which the lower end, and the higher, were seen going on."""
        return Crossing(
            *(
                frozenset(p.gate for p in self._advanced(by_low=end))
                for end in (True, False)
            )
        )

    def spend(self) -> None:
        """Begin to count steps anew."""
        self._sequences = {
            place: sequence._replace(steps=0, before=None)
            for place, sequence in self._sequences.items()
        }

    def _advanced(self, *, by_low: bool) -> dict[_Place, _Sequence]:
        return {
            place: sequence
            for place, sequence in self._sequences.items()
            if place.by_low is by_low and sequence.steps >= STEPS
        }

    def _refuse_echo(self, heard: Heard, place: _Place) -> None:
        for other, sequence in self._sequences.items():
            same = sequence.highest.packet.payload == heard.packet.payload
            if other.by_low is not place.by_low and same:
                raise Contradiction(ECHO)


def _continued(known: _Sequence | None, heard: Heard, now: float) -> _Sequence:
    """The sequence with one more packet; raises Contradiction if it does not fit."""
    if known is None:
        return _Sequence(heard, now)
    ahead = (heard.message.sequence - known.highest.message.sequence) % _SEQUENCE_SPACE
    elapsed = max(0.0, now - known.seen)
    if not ahead or _SEQUENCE_SPACE - ahead <= _LATE:
        return known  # seen already, or late
    if ahead > FASTEST * (elapsed + _LATEST):
        steps = min(ahead, _SEQUENCE_SPACE - ahead)
        way = "ahead of" if steps == ahead else "behind"
        raise Contradiction(
            f"a packet's number is {steps} {way} the highest before it on its SPI, "
            f"{elapsed:.3f} s later: no tunnel goes on like that"
        )
    return _Sequence(heard, now, known.highest, known.steps + 1)


def _cut(heard: Heard) -> Heard:
    packet = heard.packet
    return heard._replace(packet=packet._replace(payload=packet.payload[:_KEPT]))


def _shown(sequences: dict[_Place, _Sequence]) -> tuple[Heard, ...]:
    """The last step of one sequence."""
    sequence = next(iter(sequences.values()))
    return tuple(one for one in (sequence.before, sequence.highest) if one)
