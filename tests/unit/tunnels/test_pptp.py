# SPDX-License-Identifier: GPL-2.0-or-later
"""PPTP: what is read, and what is not for want of a single byte."""

from struct import pack

import pytest
from scapy.layers.l2 import GRE_PPTP
from scapy.layers.pptp import (
    PPTP,
    PPTPOutgoingCallRequest,
    PPTPStartControlConnectionReply,
    PPTPStartControlConnectionRequest,
)

from tests.unit.tunnels.crafting import cut, ends, flipped, packet, read, unsure
from vpngate.packets import Endpoint, FlowKey, Packet, Transport
from vpngate.recognition import Message, Role
from vpngate.tunnels.pptp import TUNNEL

PORTS = (49152, 1723)
REQUEST = bytes(PPTPStartControlConnectionRequest(host_name="client"))
REPLY = bytes(PPTPStartControlConnectionReply(host_name="server"))
# Magic, types, lengths, reserved, version, capabilities: all of them fixed.
FIXED = range(24)


def request(
    payload: bytes, *, back: bool = False, ipv6: bool = False
) -> Message | None:
    return read(TUNNEL, Transport.TCP, payload, PORTS, back=back, ipv6=ipv6)


def reply(payload: bytes) -> Message | None:
    return read(TUNNEL, Transport.TCP, payload, PORTS, back=True)


def gre(payload: bytes, *, back: bool = False, ipv6: bool = False) -> Message | None:
    return read(TUNNEL, Transport.GRE, payload, back=back, ipv6=ipv6)


@pytest.mark.parametrize("ipv6", [False, True])
def test_a_request_opens_and_a_reply_confirms(*, ipv6: bool) -> None:
    first = request(REQUEST, ipv6=ipv6)
    second = reply(REPLY)
    assert first is not None
    assert second is not None
    assert (first.role, second.role) == (Role.INITIATION, Role.RESPONSE)
    assert first.token == second.token
    assert second.conclusive


def test_scapy_agrees_on_what_the_bytes_are() -> None:
    assert isinstance(PPTP(REQUEST), PPTPStartControlConnectionRequest)
    assert isinstance(PPTP(REPLY), PPTPStartControlConnectionReply)
    assert len(REQUEST) == len(REPLY) == 156


@pytest.mark.parametrize("at", FIXED)
def test_no_fixed_byte_of_a_request_may_differ(at: int) -> None:
    assert request(flipped(REQUEST, at)) is None


@pytest.mark.parametrize("at", FIXED)
def test_no_fixed_byte_of_a_reply_may_differ(at: int) -> None:
    assert reply(flipped(REPLY, at)) is None


@pytest.mark.parametrize("at", range(24, 156, 7))
def test_names_and_numbers_may_be_anything(at: int) -> None:
    assert request(flipped(REQUEST, at)) is not None
    assert reply(flipped(REPLY, at)) is not None


@pytest.mark.parametrize(
    ("result", "error", "connected"),
    [(1, 0, True), (0, 0, False), (1, 1, False), *((r, 0, False) for r in range(2, 7))],
)
def test_every_result_but_the_first_is_a_refusal(
    *, result: int, error: int, connected: bool
) -> None:
    codes = {"result_code": result, "error_code": error}
    payload = bytes(PPTPStartControlConnectionReply(**codes))
    assert (reply(payload) is not None) is connected


def test_a_whole_request_to_the_port_is_enough_alone() -> None:
    whole = packet(Transport.TCP, REQUEST, PORTS)
    message, kept = TUNNEL.read(whole), TUNNEL.read(cut(whole, 40))
    assert message is not None
    assert kept is not None
    assert message.one_way
    assert not kept.one_way
    answer = reply(REPLY)
    assert answer is not None
    assert not answer.one_way


def test_a_request_goes_to_the_port_and_a_reply_comes_from_it() -> None:
    assert reply(REQUEST) is None
    assert request(REPLY) is None


def test_a_message_is_whole() -> None:
    assert request(REQUEST[:-1]) is None
    assert request(b"") is None


def test_a_capture_may_hold_less_than_was_sent() -> None:
    whole = packet(Transport.TCP, REQUEST, PORTS)
    assert TUNNEL.read(cut(whole, 24)) is not None
    assert TUNNEL.read(cut(whole, 23)) is None


def test_what_follows_in_the_segment_is_pptp_too() -> None:
    call = bytes(PPTPOutgoingCallRequest())
    assert request(REQUEST + call) is not None
    assert request(REQUEST + call[:4]) is not None
    assert request(REQUEST + flipped(call, 3)) is None
    assert request(REQUEST + flipped(call, 4)) is None
    assert request(REQUEST + flipped(call, 8)) is None


def test_other_control_messages_open_nothing() -> None:
    assert request(bytes(PPTPOutgoingCallRequest())) is None


@pytest.mark.parametrize(
    ("fields", "data"),
    [
        ({"seqnum_present": 1, "sequence_number": 7}, b"\xff\x03data"),
        ({"acknum_present": 1, "ack_number": 7}, b""),
        (
            {
                "seqnum_present": 1,
                "sequence_number": 7,
                "acknum_present": 1,
                "ack_number": 9,
            },
            b"\xff\x03data",
        ),
    ],
)
@pytest.mark.parametrize("ipv6", [False, True])
def test_enhanced_gre_carries_data_or_an_acknowledgment(
    fields: dict[str, int], data: bytes, *, ipv6: bool
) -> None:
    message = gre(bytes(GRE_PPTP(call_id=24, **fields) / data), ipv6=ipv6)
    assert message == Message(Role.EXCHANGE, "enhanced GRE")


ENHANCED = pack(">BBHHHI", 0x30, 0x01, 0x880B, 4, 24, 1) + b"data"


def test_the_crafted_enhanced_gre_is_read() -> None:
    assert gre(ENHANCED) is not None


# Flags, version, protocol type and payload length; the two lowest bits of each.
@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16, 32, 64, 128])
@pytest.mark.parametrize("at", range(6))
def test_no_fixed_bit_of_enhanced_gre_may_differ(at: int, bits: int) -> None:
    assert gre(flipped(ENHANCED, at, bits)) is None


def test_enhanced_gre_ends_where_it_says() -> None:
    assert gre(ENHANCED + b"\0") is None
    assert gre(ENHANCED[:-1]) is None
    assert gre(ENHANCED[:7]) is None


def test_enhanced_gre_without_data_or_acknowledgment_is_none() -> None:
    assert gre(pack(">BBHHH", 0x20, 0x01, 0x880B, 0, 24)) is None
    assert gre(pack(">BBHHHI", 0x20, 0x81, 0x880B, 4, 24, 1) + b"data") is None
    assert gre(pack(">BBHHHI", 0x30, 0x01, 0x880B, 0, 24, 1)) is None


@pytest.mark.parametrize(
    "header",
    [
        pack(">HH", 0x0000, 0x0800),  # plain
        pack(">HHI", 0x2000, 0x0800, 24),  # with a key (RFC 2890)
        pack(">HHII", 0x3000, 0x880B, 24, 1),  # PPP in plain GRE, as in CDMA2000
        pack(">HHI", 0x1000, 0x88BE, 1),  # ERSPAN
        pack(">HHI", 0x2000, 0x6558, 24),  # NVGRE
    ],
)
def test_plain_gre_is_no_tunnel(header: bytes) -> None:
    assert gre(header + bytes(64)) is None


def test_nothing_else_is_pptp() -> None:
    assert TUNNEL.read(packet(Transport.UDP, REQUEST, PORTS)) is None
    assert TUNNEL.read(packet(Transport.TCP, REQUEST, (49152, 1724))) is None


def test_a_control_connection_covers_the_gre_between_its_ends() -> None:
    client, server = ends(Transport.TCP, PORTS)
    control = FlowKey.of(Transport.TCP, client, server)
    bare = FlowKey.of(
        Transport.GRE, Endpoint(client.address, 0), Endpoint(server.address, 0)
    )
    assert TUNNEL.covers(control) == (control, bare)
    assert TUNNEL.covers(bare) == (bare,)


def test_whatever_is_cut_off_is_read_without_an_error() -> None:
    for whole in (
        packet(Transport.TCP, REQUEST, PORTS),
        packet(Transport.GRE, ENHANCED),
    ):
        for size in range(whole.length):
            short: Packet = cut(whole, size)
            assert unsure(TUNNEL.read(short)) in (None, unsure(TUNNEL.read(whole)))
