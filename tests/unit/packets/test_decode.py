# SPDX-License-Identifier: GPL-2.0-or-later
"""Decoding from the IP header on, checked against packets that scapy builds."""

import struct

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    Jumbo,
    PadN,
)
from scapy.layers.ipsec import AH
from scapy.packet import Packet as Built
from scapy.packet import Raw

from vpngate.packets import (
    Direction,
    Endpoint,
    Family,
    FlowKey,
    Packet,
    Transport,
    decode,
    format_address,
    parse_address,
)

V4 = IP(src="192.0.2.1", dst="198.51.100.2")
V6 = IPv6(src="2001:db8::1", dst="2001:db8::2")
ENDS = {
    4: (parse_address("192.0.2.1"), parse_address("198.51.100.2")),
    6: (parse_address("2001:db8::1"), parse_address("2001:db8::2")),
}
DATA = bytes(range(100))


def built(packet: Built) -> bytes:
    return bytes(packet)


def expected(
    version: int, transport: Transport, payload: bytes = DATA, length: int | None = None
) -> Packet:
    ports = (1000, 2000) if transport.has_ports else (0, 0)
    source, destination = map(Endpoint, ENDS[version], ports)
    size = len(payload) if length is None else length
    return Packet(transport, source, destination, payload, size)


@pytest.mark.parametrize("network", [V4, V6], ids=["IPv4", "IPv6"])
class TestWholePackets:
    def test_udp(self, network: Built) -> None:
        packet = decode(built(network / UDP(sport=1000, dport=2000) / DATA))
        assert packet == expected(network.version, Transport.UDP)
        assert packet is not None
        assert not packet.truncated

    @pytest.mark.parametrize(
        "options", [[], [("NOP", None)] * 2 + [("Timestamp", (1, 2))]]
    )
    def test_tcp_whatever_its_options(
        self, network: Built, options: list[tuple[str, object]]
    ) -> None:
        tcp = TCP(sport=1000, dport=2000, options=options)
        assert decode(built(network / tcp / DATA)) == expected(
            network.version, Transport.TCP
        )

    @pytest.mark.parametrize("transport", [Transport.ESP, Transport.GRE])
    def test_esp_and_gre_keep_their_headers(
        self, network: Built, transport: Transport
    ) -> None:
        field = {"proto" if network.version == 4 else "nh": int(transport)}
        whole = network.copy()
        for name, value in field.items():
            setattr(whole, name, value)
        assert decode(built(whole / Raw(DATA))) == expected(network.version, transport)

    def test_an_empty_payload(self, network: Built) -> None:
        for transport, header in ((Transport.UDP, UDP), (Transport.TCP, TCP)):
            packet = decode(built(network / header(sport=1000, dport=2000)))
            assert packet == expected(network.version, transport, b"")

    def test_padding_behind_the_packet_is_cut_off(self, network: Built) -> None:
        frame = built(network / UDP(sport=1000, dport=2000) / DATA) + b"padding"
        assert decode(frame) == expected(network.version, Transport.UDP)

    def test_what_a_capture_left_out_is_said(self, network: Built) -> None:
        whole = built(network / UDP(sport=1000, dport=2000) / DATA)
        packet = decode(whole[:-40])
        assert packet == expected(
            network.version, Transport.UDP, DATA[:60], length=len(DATA)
        )
        assert packet is not None
        assert packet.truncated

    def test_a_cut_off_header_is_none(self, network: Built) -> None:
        headers = len(network)
        for header, size in ((UDP(), 8), (TCP(), 20)):
            whole = built(network / header / DATA)
            for length in range(headers + size):
                assert decode(whole[:length]) is None
            assert decode(whole[: headers + size]) is not None

    def test_cut_off_tcp_options_leave_no_payload(self, network: Built) -> None:
        tcp = TCP(sport=1000, dport=2000, options=[("NOP", None)] * 12)
        packet = decode(built(network / tcp / DATA)[: len(network) + 24])
        assert packet == expected(network.version, Transport.TCP, b"", len(DATA))

    @pytest.mark.parametrize("stated", [7, 109])
    def test_a_udp_length_that_cannot_be(self, network: Built, stated: int) -> None:
        udp = UDP(sport=1000, dport=2000, len=stated)
        assert decode(built(network / udp / DATA)) is None

    def test_a_udp_length_below_the_packet_cuts_it(self, network: Built) -> None:
        udp = UDP(sport=1000, dport=2000, len=8 + 10)
        assert decode(built(network / udp / DATA)) == expected(
            network.version, Transport.UDP, DATA[:10]
        )

    @pytest.mark.parametrize("words", [4, 15])
    def test_a_tcp_offset_that_cannot_be(self, network: Built, words: int) -> None:
        tcp = TCP(sport=1000, dport=2000, dataofs=words)
        assert decode(built(network / tcp / DATA[:30])) is None

    def test_other_protocols_are_none(self, network: Built) -> None:
        assert decode(built(network / AH() / UDP() / DATA)) is None


def test_icmp_is_none() -> None:
    assert decode(built(V4 / ICMP() / DATA)) is None


@pytest.mark.parametrize("version", [0, 5, 15])
def test_other_versions_are_none(version: int) -> None:
    whole = bytearray(built(V4 / UDP() / DATA))
    whole[0] = version << 4 | 5
    assert decode(bytes(whole)) is None


class TestIpv4:
    def test_options_are_passed_over(self) -> None:
        header = V4.copy()
        header.options = [b"\x01"] * 8
        whole = built(header / UDP(sport=1000, dport=2000) / DATA)
        assert whole[0] & 0xF == 7
        assert decode(whole) == expected(4, Transport.UDP)

    @pytest.mark.parametrize(("ihl", "length"), [(4, None), (5, 19), (15, 50)])
    def test_lengths_that_cannot_be(self, ihl: int, length: int | None) -> None:
        header = V4.copy()
        header.ihl, header.len = ihl, length
        assert decode(built(header / UDP() / DATA)) is None

    def test_a_length_of_zero_stands_for_all_that_is_there(self) -> None:
        header = V4.copy()
        header.len = 0
        assert decode(built(header / TCP(sport=1000, dport=2000) / DATA)) == expected(
            4, Transport.TCP
        )

    def test_the_first_fragment_is_truncated(self) -> None:
        header = V4.copy()
        header.flags = "MF"
        udp = UDP(sport=1000, dport=2000, len=8 + 3000)
        packet = decode(built(header / udp / DATA))
        assert packet == expected(4, Transport.UDP, DATA, length=3000)
        assert packet is not None
        assert packet.truncated

    def test_the_first_fragment_of_esp_is_what_it_holds(self) -> None:
        header = V4.copy()
        header.flags, header.proto = "MF", 50
        assert decode(built(header / Raw(DATA))) == expected(4, Transport.ESP)

    @pytest.mark.parametrize("flags", ["MF", 0])
    def test_later_fragments_are_none(self, flags: str | int) -> None:
        header = V4.copy()
        header.flags, header.frag = flags, 185
        assert decode(built(header / UDP() / DATA)) is None

    def test_the_flag_against_fragments_changes_nothing(self) -> None:
        header = V4.copy()
        header.flags = "DF"
        assert decode(built(header / UDP(sport=1000, dport=2000) / DATA)) == expected(
            4, Transport.UDP
        )


class TestIpv6:
    CHAIN = (
        IPv6ExtHdrHopByHop(options=[PadN(optdata=b"1234")]),
        IPv6ExtHdrDestOpt(options=[PadN(optdata=b"x" * 20)]),
        IPv6ExtHdrRouting(addresses=["2001:db8::9"]),
        IPv6ExtHdrFragment(offset=0, m=0),
    )

    def test_extension_headers_are_passed_over(self) -> None:
        whole = V6
        for header in self.CHAIN:
            whole = whole / header
            packet = decode(built(whole / UDP(sport=1000, dport=2000) / DATA))
            assert packet == expected(6, Transport.UDP)

    def test_a_chain_cut_off_anywhere_is_none(self) -> None:
        whole = V6
        for header in self.CHAIN:
            whole = whole / header
        network = built(whole / UDP() / DATA)
        for length in range(len(built(whole)) + 8):
            assert decode(network[:length]) is None

    def test_a_chain_that_ends_behind_the_packet_is_none(self) -> None:
        header = V6.copy()
        header.plen = 8
        whole = header / IPv6ExtHdrHopByHop(options=[PadN(optdata=b"1234")])
        assert decode(built(whole / UDP() / DATA)) is None
        header.plen = 4
        assert decode(built(whole / UDP() / DATA)) is None

    @pytest.mark.parametrize(("offset", "more"), [(0, 1), (100, 1), (100, 0)])
    def test_fragments(self, offset: int, more: int) -> None:
        udp = UDP(sport=1000, dport=2000, len=8 + 3000)
        fragment = IPv6ExtHdrFragment(offset=offset, m=more)
        packet = decode(built(V6 / fragment / udp / DATA))
        if offset:
            assert packet is None
        else:
            assert packet == expected(6, Transport.UDP, DATA, length=3000)

    def test_a_length_of_zero_stands_for_all_that_is_there(self) -> None:
        header = V6.copy()
        header.plen = 0
        assert decode(built(header / TCP(sport=1000, dport=2000) / DATA)) == expected(
            6, Transport.TCP
        )

    @pytest.mark.parametrize("before", [[], [PadN(optdata=b"ab"), PadN(optdata=b"")]])
    def test_a_jumbogram_says_its_length_in_an_option(self, before: list[PadN]) -> None:
        header = V6.copy()
        header.plen = 0
        udp = struct.pack(">HHHH", 1000, 2000, 0, 0)
        size = 70000
        options = IPv6ExtHdrHopByHop(nh=17, options=[*before, Jumbo()])
        in_chain = len(built(options))
        options.options[-1].jumboplen = in_chain + 8 + size
        packet = decode(built(header / options / Raw(udp + DATA)))
        assert packet == expected(6, Transport.UDP, DATA, length=size)

    def test_other_hop_by_hop_options_say_no_length(self) -> None:
        header = V6.copy()
        header.plen = 0
        pad1 = b"\x00" * 2
        router_alert = b"\x05\x02\x00\x00"
        options = Raw(b"\x11\x00" + pad1 + router_alert)
        header.nh = 0
        udp = UDP(sport=1000, dport=2000) / DATA
        assert decode(built(header / options / udp)) == expected(6, Transport.UDP)

    def test_a_cut_off_jumbo_option_says_no_length(self) -> None:
        header = V6.copy()
        header.plen, header.nh = 0, 0
        for length in range(8):
            assert decode(
                built(header / Raw(b"\x11\x00\xc2\x04\0\1\0\0"[:length]))
            ) is (None)


class TestNames:
    def test_families(self) -> None:
        assert [(f.label, f.width) for f in Family] == [("ipv4", 4), ("ipv6", 16)]

    def test_transports(self) -> None:
        assert [t.label for t in Transport] == ["tcp", "udp", "gre", "esp"]
        assert [t.has_ports for t in Transport] == [True, True, False, False]

    def test_directions(self) -> None:
        assert list(Direction) == ["upload", "download"]

    @pytest.mark.parametrize(
        ("text", "port", "spelled"),
        [
            ("192.0.2.1", 0, "192.0.2.1"),
            ("192.0.2.1", 53, "192.0.2.1:53"),
            ("2001:db8::1", 0, "2001:db8::1"),
            ("2001:DB8:0::1", 53, "[2001:db8::1]:53"),
        ],
    )
    def test_endpoints(self, text: str, port: int, spelled: str) -> None:
        endpoint = Endpoint(parse_address(text), port)
        assert str(endpoint) == spelled
        assert endpoint.family.width == len(endpoint.address)
        assert parse_address(format_address(endpoint.address)) == endpoint.address

    def test_no_address(self) -> None:
        with pytest.raises(ValueError, match=r"192\.0\.2"):
            parse_address("192.0.2")

    def test_a_flow_is_the_same_both_ways(self) -> None:
        there = expected(4, Transport.UDP)
        back = there._replace(source=there.destination, destination=there.source)
        assert there.flow == back.flow
        assert there.flow == FlowKey.of(there.transport, there.source, back.source)
        assert there.flow.low < there.flow.high
        assert there.flow.family is Family.IPV4


@pytest.mark.parametrize("header", [47, 50, 17, 6])
def test_extension_headers_that_reach_beyond_the_packet(header: int) -> None:
    """Stated 16 bytes, of which the destination options alone claim 64."""
    fixed = bytes.fromhex("60000000 0010 3c 40") + bytes(32)
    options = bytes([header, 7]) + bytes(62)
    assert decode(fixed + options + bytes(64)) is None
