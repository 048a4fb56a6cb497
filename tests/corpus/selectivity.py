# SPDX-License-Identifier: GPL-2.0-or-later
"""How many packets of ordinary traffic the prefilter lets through.

Knows the signatures' compilations, and captures in which there is no tunnel; does
not know what user space makes of a packet that passes. What is sampled (ESP, NAT-T,
GRE) looks the same in every packet, and is counted apart.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from vpngate.capture.candidates import CandidateFilter
from vpngate.capture.files.file import CaptureFile
from vpngate.errors import UnreadableInput
from vpngate.link_layers import LinkType
from vpngate.signatures import Signature
from vpngate.signatures.predicate import matches
from vpngate.tunnels import all_tunnels

MOST = 1 / 1000  # of the packets may pass all signatures together


_WHOLE = 1 << 16  # bytes: a capture may have kept less of a packet than there was


@dataclass(frozen=True)
class Selectivity:
    """Packets in all, and how many passed a signature, by signature.

    `passed_any` is for the signatures that are not sampled, together: as the kernel
    compares, and as libpcap does, which leaves IPv6 with extension headers to us.
    """

    packets: int
    passed: Mapping[Signature, int]
    passed_any: int
    passed_libpcap: int

    @property
    def share(self) -> float:
        """The share of packets that pass, by the less exact of the two."""
        return max(self.passed_any, self.passed_libpcap) / self.packets

    def __str__(self) -> str:
        rows = [(s.name, n, "sampled" * s.sampled) for s, n in self.passed.items()]
        rows += [
            ("not sampled", self.passed_any, "by one or more"),
            ("not sampled", self.passed_libpcap, "the same by libpcap"),
        ]
        line = "{:<26}{:>8}{:>14.0f}  {}".format
        return "\n".join(
            ["{:<26}{:>8}{:>14}".format("signature", "passed", "of a million")]
            + [line(name, n, n / self.packets * 1e6, note) for name, n, note in rows]
        )


def measure(captures: Mapping[Path, int]) -> Selectivity:
    """Hold the signatures against captures, given with their numbers of packets."""
    signatures = [s for tunnel in all_tunnels() for s in tunnel.signatures]
    everyday = CandidateFilter.of(s for s in signatures if not s.sampled)
    passes_libpcap = everyday.matcher(LinkType.RAW)
    passed = dict.fromkeys(signatures, 0)
    passed_any = passed_libpcap = 0
    for packet in _packets(captures):
        matching = [s for s in signatures if matches(s, packet, _WHOLE)]
        for signature in matching:
            passed[signature] += 1
        passed_any += not all(s.sampled for s in matching)
        passed_libpcap += passes_libpcap(packet)
    return Selectivity(sum(captures.values()), passed, passed_any, passed_libpcap)


def _packets(captures: Iterable[Path]) -> Iterator[bytes]:
    """Every IP packet that can be read, from its IP header on."""
    everything = CandidateFilter(["ip or ip6"])
    for path in captures:
        try:
            for network, _ in CaptureFile(path, everything).networks():
                yield network
        except UnreadableInput:
            continue  # what came before the damage counts
