# SPDX-License-Identifier: GPL-2.0-or-later
"""The candidates' filter: one selection behind every link layer, however packed."""

import random
import struct
from collections.abc import Iterator

import cypcap
import pytest

from tests.unit.capture import bpf_machine
from tests.unit.capture.crafted import DATA, INITIATION, RESPONSE, udp
from tests.unit.signatures import traffic
from vpngate.capture.candidates import CandidateFilter
from vpngate.capture.classic_bpf import Program, unpacked
from vpngate.capture.prefilter import prefilter
from vpngate.errors import MissingFeature
from vpngate.link_layers import LAYOUTS, Layout, LinkType, network_layer
from vpngate.packets import Family, Transport
from vpngate.signatures import Field, Shape, Signature
from vpngate.signatures.libpcap import filter_for
from vpngate.tunnels import all_tunnels

SIGNATURES = [s for tunnel in all_tunnels() for s in tunnel.signatures]
SEED = 20265
EACH = 60
ORDINARY = 256
DEBIAN_12 = 400  # instructions, about what its kernel's memory for filters holds


@pytest.fixture(scope="module")
def candidates() -> CandidateFilter:
    return CandidateFilter.of(SIGNATURES)


def packets() -> Iterator[bytes]:
    """IP packets around every signature, and random ones of ordinary ports."""
    for signature in SIGNATURES:
        for frame in traffic.frames(signature, EACH, SEED):
            network = network_layer(LinkType.ETHERNET, frame)
            if network:
                yield network
    rng = random.Random(SEED)
    for _ in range(300):
        yield udp(rng.randbytes(rng.randrange(200)), port=rng.randrange(1024, 65536))


def framed(layout: Layout, network: bytes) -> bytes:
    """A frame of a layout around a packet; values of its checks are the lowest."""
    head = bytearray(layout.start)
    for at, size, values in layout.checks:
        is_ip = {b"\x08\0", b"\x86\xdd"} == values
        head[at : at + size] = (
            (b"\x86\xdd" if network[0] >> 4 == 6 else b"\x08\0")
            if is_ip
            else min(values)
        )
    return bytes(head) + network


def passes(program: Program, frame: bytes) -> bool:
    header = cypcap.Pkthdr()
    header.caplen = header.len = len(frame)
    return bool(cypcap.BpfProgram(list(program)).offline_filter(header, frame))


@pytest.mark.parametrize("link_type", LAYOUTS, ids=lambda number: LinkType(number).name)
def test_every_layout_selects_as_bare_ip_does(
    candidates: CandidateFilter, link_type: int
) -> None:
    bare, here = candidates.matcher(LinkType.RAW), candidates.matcher(link_type)
    selected = 0
    for network in packets():
        expected = bare(network)
        selected += expected
        for layout in LAYOUTS[link_type]:
            assert here(framed(layout, network)) is expected, (layout, network.hex())
    assert selected > len(SIGNATURES)


@pytest.mark.parametrize("link_type", LAYOUTS, ids=lambda number: LinkType(number).name)
def test_packed_it_is_the_same_program(
    candidates: CandidateFilter, link_type: int
) -> None:
    packed = candidates.packed(link_type)
    assert packed is not None
    assert unpacked(packed) == candidates.program(link_type)


def test_looks_and_parts_lose_nothing_that_one_text_finds(
    candidates: CandidateFilter,
) -> None:
    """But for segments that are empty: their bytes are Ethernet's padding."""
    whole = CandidateFilter([filter_for(SIGNATURES)]).matcher(LinkType.RAW)
    quick = candidates.matcher(LinkType.RAW)
    for network in packets():
        if quick(network):
            assert whole(network)
        elif whole(network):
            assert is_empty_segment(network), network.hex()


def test_portions_select_as_one_text_does_also_what_is_cut_short(
    candidates: CandidateFilter,
) -> None:
    """Where one runs out of bytes, none of those behind it is looked at."""
    rng = random.Random(SEED)
    programs, exact = candidates.kernel_filter(LinkType.RAW, 1 << 20)
    portions = candidates.matcher(LinkType.RAW)
    (whole,) = programs
    assert exact
    selected = 0
    for network in packets():
        for size in rng.sample(range(20, 120), 5):
            cut = network[:size]
            expected = passes(whole, cut)
            selected += expected
            assert portions(cut) is expected, cut.hex()
    assert selected > len(SIGNATURES)


def is_empty_segment(network: bytes) -> bool:
    if network[0] >> 4 == 4:
        start, size = (network[0] & 15) * 4, int.from_bytes(network[2:4])
        is_tcp = network[9] == Transport.TCP
    else:
        start, size = 40, 40 + int.from_bytes(network[4:6])
        is_tcp = network[6] == Transport.TCP
    return is_tcp and size <= start + (network[start + 12] >> 4) * 4


@pytest.mark.parametrize("most", [4096, 2730, 1800])
def test_kernel_programs_together_are_the_filter(
    candidates: CandidateFilter, most: int
) -> None:
    programs, exact = candidates.kernel_filter(LinkType.ETHERNET, most)
    assert exact
    assert all(len(program) <= most for program in programs)
    whole = candidates.matcher(LinkType.ETHERNET)
    layouts = LAYOUTS[LinkType.ETHERNET]
    rng = random.Random(SEED)
    for network in rng.sample(list(packets()), 300):
        frame = framed(rng.choice(layouts), network)
        assert any(passes(program, frame) for program in programs) is whole(frame)


def test_a_small_kernel_gets_a_look_that_loses_nothing(
    candidates: CandidateFilter,
) -> None:
    programs, exact = candidates.kernel_filter(LinkType.ETHERNET, DEBIAN_12)
    assert not exact
    assert all(len(program) <= DEBIAN_12 for program in programs)
    whole = candidates.matcher(LinkType.ETHERNET)
    passed = seen = 0
    for network in packets():
        frame = framed(LAYOUTS[LinkType.ETHERNET][0], network)
        look = any(passes(program, frame) for program in programs)
        assert look or not whole(frame), network.hex()
        passed, seen = passed + look, seen + 1
    assert passed < seen


def test_without_looks_the_kernel_may_refuse() -> None:
    plain = CandidateFilter(["udp port 7"])
    programs, exact = plain.kernel_filter(LinkType.RAW, 5)
    assert exact
    assert len(programs[0]) > 5


def test_messages_of_a_tunnel_pass_and_its_data_does_not(
    candidates: CandidateFilter,
) -> None:
    matches = candidates.matcher(LinkType.RAW)
    assert matches(udp(INITIATION))
    assert matches(udp(RESPONSE, back=True))
    assert not matches(udp(DATA))


def test_where_no_filter_can_be_written_everything_passes() -> None:
    candidates = CandidateFilter(["udp port 7"])
    assert candidates.program(LinkType.NFLOG) is None
    assert candidates.packed(LinkType.NFLOG) is None
    assert candidates.matcher(LinkType.NFLOG)(b"anything")
    assert candidates.kernel_filter(LinkType.NFLOG, 100).programs == []


def test_an_expression_that_libpcap_rejects_is_one_line() -> None:
    with pytest.raises(MissingFeature, match=r"libpcap: cannot compile .*; install"):
        CandidateFilter(["udp porto 7"])


class TestFirstLook:
    @pytest.mark.parametrize("family", Family)
    def test_the_transport_alone_where_nothing_else_would_help(
        self, family: Family
    ) -> None:
        anything = Shape((Field(4, b"\x07"),))
        udp_signature = Signature("anything", Transport.UDP, (anything,))
        esp = Signature("esp", Transport.ESP, (anything,))
        term = "ip[9]" if family is Family.IPV4 else "ip6[6]"
        for signature in (udp_signature, esp):
            look = prefilter(family, signature.transport, [signature])
            assert look.endswith((f"{term} = {signature.transport:d}", "))"))
            assert "udp" not in look

    def test_bytes_by_their_bits_and_ports_by_ranges(self) -> None:
        low = Shape((Field(0, b"\x00", b"\xfc"),))
        high = Shape((Field(0, b"\x10"), Field(0, b"\x11", differs=True)))
        signatures = [
            Signature("bytes", Transport.UDP, (low, high)),
            Signature("ports", Transport.UDP, (low,), frozenset({7, 8, 10})),
        ]
        assert prefilter(Family.IPV4, Transport.UDP, signatures) == (
            "ip and ip[9] = 17 and ((udp[0:2] >= 7 and udp[0:2] <= 8) or "
            "udp[0:2] = 10 or (udp[2:2] >= 7 and udp[2:2] <= 8) or udp[2:2] = 10 or "
            "udp[8] & 252 = 0 or udp[8] & 239 = 0)"
        )

    def test_long_messages_begin_with_fewer_bytes(self) -> None:
        short = Shape((Field(0, b"\x01"),), ((148, 148),))
        long = Shape((Field(0, b"\x02"),), ((344, 1078),))
        signatures = [Signature("any", Transport.UDP, (short, long))]
        assert prefilter(Family.IPV4, Transport.UDP, signatures) == (
            "ip and ip[9] = 17 and (((udp[8] = 1 or udp[8] = 2) and "
            "(udp[4:2] <= 256 or udp[8] = 2)))"
        )

    def test_random_signatures_lose_nothing(self) -> None:
        rng = random.Random(SEED)
        found = 0
        for _ in range(30):
            signatures = [random_signature(rng) for _ in range(3)]
            whole = CandidateFilter([filter_for(signatures)]).matcher(LinkType.RAW)
            quick = CandidateFilter.of(signatures).matcher(LinkType.RAW)
            for signature in signatures:
                for frame in traffic.frames(signature, 20, rng.randrange(1 << 30)):
                    network = network_layer(LinkType.ETHERNET, frame)
                    if network and whole(network):
                        found += 1
                        assert quick(network), (signatures, network.hex())
        assert found > 300

    @pytest.mark.parametrize("count", [125, 126, 300])
    def test_more_ports_than_a_jump_passes_over(self, count: int) -> None:
        """A conditional one of the classic filter leaves out 255 instructions."""
        ports = range(1000, 1000 + 2 * count, 2)
        shape = Shape((Field(0, b"\x01"),))
        many = Signature("many", Transport.UDP, (shape,), frozenset(ports))
        matches = CandidateFilter.of([many]).matcher(LinkType.RAW)
        assert all(matches(udp(b"\x01", port=port)) for port in ports)
        assert not matches(udp(b"\x01", port=1001))

    def test_what_is_ordinary_is_turned_away_in_a_few_instructions(
        self, candidates: CandidateFilter
    ) -> None:
        """Counted on a machine of our own, which decides as libpcap's does."""
        program = candidates.program(LinkType.ETHERNET)
        assert program is not None
        instructions = list(program)
        decides = candidates.matcher(LinkType.ETHERNET)
        counted = []
        for network in ordinary():
            frame = framed(LAYOUTS[LinkType.ETHERNET][0], network)
            passed, taken = bpf_machine.run(instructions, frame)
            assert passed is decides(frame)
            counted.append(taken)
        assert len(counted) == ORDINARY
        assert sum(counted) / len(counted) < 36

    def test_what_begins_as_a_handshake_does_is_soon_turned_away(
        self, candidates: CandidateFilter
    ) -> None:
        """A download over QUIC has packets that begin with any of 64 bytes."""
        program = candidates.program(LinkType.RAW)
        assert program is not None
        rng = random.Random(SEED)
        counted = [
            bpf_machine.run(program, udp(bytes([first]) + rng.randbytes(size)))
            for first in range(0x40, 0x80)
            for size in (30, 1230)
        ]
        assert not any(passed for passed, _ in counted)
        assert max(taken for _, taken in counted) < 650


def ordinary() -> Iterator[bytes]:
    """Data of QUIC, sound of a call, segments of TLS and what acknowledges them."""
    rng = random.Random(SEED)
    for number in range(ORDINARY // 4):
        yield udp(bytes([0x40 | number % 64]) + rng.randbytes(1230))
        yield udp(b"\x80\0" + rng.randbytes(170))
        yield segment(b"\x17\x03\x03" + rng.randbytes(1400))
        yield segment(b"")


def segment(payload: bytes) -> bytes:
    size = 40 + len(payload)
    head = struct.pack(">BBHHHBBH", 0x45, 0, size, 0, 0, 64, 6, 0)
    ports = struct.pack(">HHIIBBHHH", 443, 50000, 1, 1, 0x50, 16, 64240, 0, 0)
    return head + bytes(8) + ports + payload


def random_signature(rng: random.Random) -> Signature:
    """One of UDP: a few shapes whose first byte and length may be anything."""
    shapes = []
    for _ in range(rng.randint(1, 3)):
        mask = rng.choice([0xFF, 0xFF, 0xF8, 0x87, 0x01])
        first = Field(
            rng.choice([0, 0, 2]), bytes([rng.randrange(256) & mask]), bytes([mask])
        )
        low = rng.choice([1, 30, 240, 250, 400])
        lengths = rng.choice([(), ((low, low + rng.choice([0, 20, 600])),)])
        shapes.append(Shape((first,), lengths))
    ports = rng.choice([frozenset(), frozenset(), frozenset({7, 8})])
    return Signature("random", Transport.UDP, tuple(shapes), ports)
