# SPDX-License-Identifier: GPL-2.0-or-later
"""Sends a capture through recognition, as live packets go through it.

Knows the way from candidates to the evidence of each flow at the capture's end;
does not recognise or pair anything itself, and does not know registries or output.

Memory is bounded as that of the live flow table is, whatever a capture holds: where
there are more flows than fit, those that nothing was heard of for longest are told
before its end.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from vpngate.capture.candidates import CandidateFilter
from vpngate.capture.files.file import CaptureFile
from vpngate.capture.steady import Steady
from vpngate.capture.summaries import Replayed, Summaries
from vpngate.errors import UnreadableInput
from vpngate.flows import MAX_BYTES, FlowTable
from vpngate.packets import Packet, decode
from vpngate.recognition import Evidence, Heard, Sighting, Tunnel
from vpngate.second_reading import (
    Disagreement,
    Outcome,
    difference,
    second_reading,
)
from vpngate.tunnels import Recogniser

_MAX_FLOWS = 1_000_000  # followed at the same time
# Of the flow table's bytes: what the flows that were sighted may take beside it.
SUMMARIES_SHARE = 4
_ANYTHING = ("ip", "ip6")

_Reading = tuple[Sequence[Heard], Outcome, Disagreement | None]


class _Known(NamedTuple):
    """What is known of a capture's flows so far."""

    table: FlowTable
    summaries: Summaries
    steady: Steady


class Replay:
    """Replays captures for a choice of tunnels, each with a flow table of its own.

    `unread` turns true when a flow could not be confirmed for want of scapy;
    `crowded` when flows were told before a capture's end, so that one of them may
    have been told again.
    """

    def __init__(
        self,
        tunnels: Sequence[Tunnel],
        *,
        one_way: bool = False,
        explain: bool = False,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        """`one_way` as in `confirm = "one-way"`; `explain` keeps accounts.

        `max_bytes` bounds the flow table; what is to be told of flows takes a quarter
        of that at most.
        """
        self._candidates = (
            CandidateFilter(_ANYTHING)
            if explain
            else CandidateFilter.of(s for t in tunnels for s in t.signatures)
        )
        self._recognise = Recogniser(tunnels).recognise
        self._one_way = one_way
        self._explain = explain
        self._max_bytes = max_bytes
        self._reading: _Reading | None = None
        self.unread = False
        self.crowded = False

    def open(self, path: Path) -> CaptureFile:
        """A capture file that gives out these tunnels' candidates.

        Where accounts are kept, it gives out everything: what came instead of an
        answer is part of them.
        """
        return CaptureFile(path, self._candidates)

    def agrees(self, tunnel: Tunnel, heard: Sequence[Heard]) -> bool:
        """Whether the second reader confirms a flow; loads scapy when first called.

        As long as it takes: nobody waits for a capture's packets.
        """
        outcome = self._outcome(tunnel, heard)
        agreed = outcome is Outcome.AGREED
        if self._explain and (agreed or self._reading is None):
            found = None
            if outcome is Outcome.DIFFERED:
                found = difference(tunnel, heard)
            self._reading = (heard, outcome, found)
        return agreed

    def _outcome(self, tunnel: Tunnel, heard: Sequence[Heard]) -> Outcome:
        outcome = second_reading(tunnel, heard)
        self.unread = self.unread or outcome is Outcome.UNAVAILABLE
        return outcome

    def _last_reading(self) -> _Reading | None:
        """What came of the last packet's second reading, once."""
        reading, self._reading = self._reading, None
        return reading

    def flows(self, capture: CaptureFile) -> Iterator[Replayed]:
        """The flows with evidence, each once, as they stand at the capture's end.

        If the capture cannot be read to its end, the flows up to there come first,
        then the UnreadableInput that says why.
        """
        summaries = Summaries(
            self._max_bytes // SUMMARIES_SHARE, accounts=self._explain
        )
        table = FlowTable(_MAX_FLOWS, self.agrees, self._max_bytes)
        steady = Steady(table, lambda: capture.fraction)
        known = _Known(table, summaries, steady)
        if self._explain:
            networks = capture.networks()
        else:
            networks = steady.remaining(capture.batches())
        failure: UnreadableInput | None = None
        try:
            for network, timestamp in networks:
                packet = decode(network)
                if packet and self._takes(packet, timestamp, known):
                    for flow in summaries.surplus():
                        self.crowded = True
                        yield flow
        except UnreadableInput as error:
            failure = error
        yield from summaries.rest()
        if failure is not None:
            raise failure

    def _takes(self, packet: Packet, now: float, known: _Known) -> bool:
        """Follow a packet; whether anything was kept of it."""
        table, summaries, steady = known
        recognised = self._recognise(packet)
        if recognised is None:
            return self._explain and summaries.pass_by(packet, now)
        tunnel, message = recognised
        heard = Heard(packet, message)
        sighting = table.observe(heard, tunnel, now)
        if sighting is not None:
            summaries.sight(self._weighed(sighting, heard))
        if not self._explain:
            steady.follow(tunnel, heard)
            return sighting is not None
        why = table.contradiction(tunnel, packet.flow)
        with summaries.account(tunnel, packet.flow) as account:
            if account is not None:
                account.hear(heard, now)
                if (reading := self._last_reading()) is not None:
                    account.read_again(*reading)
                if why:
                    account.contradict(why, heard, now)
        return True

    def _weighed(self, sighting: Sighting, heard: Heard) -> Sighting:
        """Returns the sighting, confirmed if a first message is enough by itself.

        A capture has no hooks, so a packet is taken to have come in where it should.
        """
        first = sighting.evidence is Evidence.INITIATION and not sighting.withdrawn
        if not (self._one_way and first and heard.message.one_way):
            return sighting
        outcome = self._outcome(sighting.tunnel, [heard])
        return sighting._replace(one_way=outcome is Outcome.AGREED)
