# SPDX-License-Identifier: GPL-2.0-or-later
"""Sends a capture through recognition, as live packets go through it.

Knows the way from candidates to the evidence of each flow at the capture's end;
does not recognise or pair anything itself, and does not know registries or output.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vpngate.capture.candidates import CandidateFilter
from vpngate.capture.file import CaptureFile
from vpngate.errors import UnreadableInput
from vpngate.flows import FlowTable
from vpngate.packets import FlowKey
from vpngate.recognition import Heard, Sighting, Tunnel
from vpngate.second_reading import Outcome, second_reading
from vpngate.tunnels import Recogniser

_MAX_FLOWS = 1_000_000  # followed at the same time


@dataclass(slots=True)
class _Flow:
    """What is known of a flow, over all the times the flow table has followed it."""

    first: Sighting
    best: Sighting
    latest: Sighting
    handshakes_before: int = 0

    def add(self, sighting: Sighting) -> None:
        if sighting.first_seen != self.latest.first_seen:
            # The table had forgotten the flow, idle as it was: it counts anew.
            self.handshakes_before += self.latest.handshakes
        if sighting.evidence > self.best.evidence:
            self.best = sighting
        self.latest = sighting

    def summary(self) -> Sighting:
        return self.best._replace(
            first_seen=self.first.first_seen,
            handshakes=self.handshakes_before + self.latest.handshakes,
        )


class Replay:
    """Replays captures for a choice of tunnels, each with a flow table of its own.

    `unread` turns true when a flow could not be confirmed for want of scapy.
    """

    def __init__(self, tunnels: Sequence[Tunnel]) -> None:
        self._candidates = CandidateFilter.of(s for t in tunnels for s in t.signatures)
        self._recognise = Recogniser(tunnels).recognise
        self.unread = False

    def open(self, path: Path) -> CaptureFile:
        """A capture file that gives out these tunnels' candidates."""
        return CaptureFile(path, self._candidates)

    def agrees(self, tunnel: Tunnel, heard: Sequence[Heard]) -> bool:
        """Whether the second reader confirms a flow; loads scapy when first called.

        As long as it takes: nobody waits for a capture's packets.
        """
        outcome = second_reading(tunnel, heard)
        self.unread = self.unread or outcome is Outcome.UNAVAILABLE
        return outcome is Outcome.AGREED

    def flows(self, capture: CaptureFile) -> Iterator[Sighting]:
        """The flows with evidence, each once, as they stand at the capture's end.

        If the capture cannot be read to its end, the flows up to there come first,
        then the UnreadableInput that says why.
        """
        followed: dict[tuple[FlowKey, Tunnel], _Flow] = {}
        failure: UnreadableInput | None = None
        try:
            self._follow(capture, followed)
        except UnreadableInput as error:
            failure = error
        yield from _one_a_flow(followed.values())
        if failure is not None:
            raise failure

    def _follow(
        self, capture: CaptureFile, followed: dict[tuple[FlowKey, Tunnel], _Flow]
    ) -> None:
        table = FlowTable(_MAX_FLOWS)
        for packet, timestamp in capture:
            recognised = self._recognise(packet)
            if recognised is None:
                continue
            sighting = table.observe(packet, *recognised, timestamp)
            if sighting is None:
                continue
            flow = followed.get((sighting.flow, sighting.tunnel))
            if flow is None:
                flow = _Flow(sighting, sighting, sighting)
                followed[sighting.flow, sighting.tunnel] = flow
            else:
                flow.add(sighting)


def _one_a_flow(flows: Iterable[_Flow]) -> Iterator[Sighting]:
    """Each flow's summary; of two tunnels on one flow the one with better evidence."""
    best: dict[FlowKey, Sighting] = {}
    for summary in (flow.summary() for flow in flows):
        rival = best.get(summary.flow)
        if rival is None or summary.evidence > rival.evidence:
            best[summary.flow] = summary
    yield from best.values()
