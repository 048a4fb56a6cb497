# SPDX-License-Identifier: GPL-2.0-or-later
"""Three compilations of every signature agree, packet by packet.

The fourth, to eBPF, needs root: `tests/netns/test_bpf_agreement.py`.

VPNGATE_AGREEMENT sets the number of packets a signature: 100,000 for the whole test,
VPNGATE_SEED another seed.
"""

import os
from random import Random

import cypcap
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.signatures.netdev_hook import Packet
from tests.unit.signatures.plain_rules import rules_of
from tests.unit.signatures.traffic import ETHERNET, frames, payload_of
from tests.unit.tunnels import crafting
from vpngate.packets import Transport
from vpngate.signatures import Field, Shape, Signature
from vpngate.signatures.libpcap import filter_for
from vpngate.signatures.predicate import matches
from vpngate.tunnels import all_tunnels

SIGNATURES = [s for tunnel in all_tunnels() for s in tunnel.signatures]
PACKETS = int(os.environ.get("VPNGATE_AGREEMENT", "400"))
OPTIONS = (0, 43, 60)
MORE = {bytes([header]) for header in (*OPTIONS, 44)}
SEED = int(os.environ.get("VPNGATE_SEED", "1"))


class Compiled:
    """A signature as the kernel, libpcap and Python see it."""

    def __init__(self, signature: Signature, *, optimise: bool = True) -> None:
        self._signature = signature
        self._rules = rules_of(signature)
        self._filter = Filter([signature], optimise=optimise)

    def nft(self, frame: bytes) -> bool:
        packet = Packet(frame)
        return any(map(packet.matches, self._rules))

    def predicate(self, frame: bytes) -> bool:
        ethertype = frame[12:14]
        version = frame[ETHERNET] >> 4 if len(frame) > ETHERNET else 0
        if (ethertype, version) not in ((b"\x08\x00", 4), (b"\x86\xdd", 6)):
            return False
        return matches(self._signature, frame[ETHERNET:])

    def pcap(self, frame: bytes) -> bool:
        return self._filter.passes(frame)


class Filter:
    """A set of signatures as libpcap compiles it for Ethernet."""

    def __init__(self, signatures: list[Signature], *, optimise: bool = True) -> None:
        dead = cypcap.open_dead(cypcap.DatalinkType.EN10MB, 65535)
        self._program = dead.compile(filter_for(signatures, ETHERNET), optimise)

    def passes(self, frame: bytes) -> bool:
        header = cypcap.Pkthdr()
        header.caplen = header.len = len(frame)
        return bool(self._program.offline_filter(header, frame))


def passes_by_superset(frame: bytes) -> bool:
    """Whether libpcap's filter may be generous: IPv6 that begins with options.

    So it may with options behind a first header for fragments.
    """
    if frame[12:14] != b"\x86\xdd":
        return False
    return frame[20] in OPTIONS or (frame[20] == 44 and frame[54:55] in MORE)


def assert_agreement(compiled: Compiled, frame: bytes) -> bool:
    expected = compiled.predicate(frame)
    assert compiled.nft(frame) == expected, frame.hex()
    passed = compiled.pcap(frame)
    if len(frame) > 20 and passes_by_superset(frame):
        assert passed or not expected, frame.hex()
    else:
        assert passed == expected, frame.hex()
    return expected


@pytest.mark.parametrize("signature", SIGNATURES, ids=lambda s: s.name)
@pytest.mark.timeout(3600)
def test_every_signature(signature: Signature) -> None:
    compiled = Compiled(signature)
    matched = sum(
        assert_agreement(compiled, frame) for frame in frames(signature, PACKETS, SEED)
    )
    # A test in which nothing, or all, matches would show nothing.
    assert 0.05 * PACKETS < matched < 0.95 * PACKETS, matched


@pytest.mark.parametrize("size", range(0, 61, 4))
@pytest.mark.parametrize("ipv6", [False, True])
def test_every_size_of_a_tcp_header(size: int, *, ipv6: bool) -> None:
    for signature in SIGNATURES:
        if signature.transport is Transport.TCP:
            compiled = Compiled(signature)
            port = min(signature.ports, default=40000)
            for shape in signature.shapes:
                payload = payload_of(Random(SEED), shape)
                packet = crafting.network(
                    *(Transport.TCP, payload, (port, 443)), ipv6=ipv6, tcp_header=size
                )
                ethertype = b"\x86\xdd" if ipv6 else b"\x08\x00"
                frame = bytes(12) + ethertype + packet
                assert assert_agreement(compiled, frame) is (size >= 20)


def test_one_filter_for_all_passes_what_any_of_them_does() -> None:
    together = Filter(SIGNATURES)
    apart = [Filter([signature]) for signature in SIGNATURES]
    for signature in SIGNATURES:
        for frame in frames(signature, max(50, PACKETS // 50), SEED + 1):
            expected = any(one.passes(frame) for one in apart)
            assert together.passes(frame) == expected, frame.hex()


@st.composite
def _fields(draw: st.DrawFn) -> Field:
    value = draw(st.binary(min_size=1, max_size=16))
    mask = None
    if draw(st.booleans()):
        mask = draw(st.binary(min_size=len(value), max_size=len(value)))
        mask = mask[:-1] + bytes([mask[-1] or 1])
        value = bytes(v & m for v, m in zip(value, mask, strict=True))
    return Field(draw(st.integers(0, 40)), value, mask, differs=draw(st.booleans()))


@st.composite
def signatures(draw: st.DrawFn) -> Signature:
    transport = draw(st.sampled_from(Transport))
    lengths: st.SearchStrategy[tuple[tuple[int, int], ...]] = st.just(())
    if transport is Transport.UDP:
        pairs = st.tuples(st.integers(0, 90), st.integers(0, 90))
        sorted_pairs = pairs.map(lambda pair: (min(pair), max(pair)))
        lengths = st.lists(sorted_pairs, max_size=3).map(tuple)
    shapes = st.builds(
        Shape, st.lists(_fields(), min_size=1, max_size=3).map(tuple), lengths
    )
    ports = st.frozensets(st.sampled_from((500, 501, 502, 1701, 4500)), max_size=4)
    chosen = tuple(draw(st.lists(shapes, min_size=1, max_size=3)))
    exact = any(low == high for shape in chosen for low, high in shape.lengths)
    may_be_fragments = transport is Transport.UDP and not exact
    return Signature(
        "invented",
        transport,
        chosen,
        draw(ports) if transport.has_ports else frozenset(),
        fragments=may_be_fragments and draw(st.booleans()),
    )


@settings(max_examples=max(60, PACKETS // 100), deadline=None)
@given(signatures(), st.integers(0, 2**32))
def test_signatures_nobody_thought_of(signature: Signature, seed: int) -> None:
    # Optimised, "is 0 or is not 0" would no longer look whether the byte is there.
    compiled = Compiled(signature, optimise=False)
    for frame in frames(signature, 30, seed):
        assert_agreement(compiled, frame)
