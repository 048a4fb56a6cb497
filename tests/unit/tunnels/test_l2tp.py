# SPDX-License-Identifier: GPL-2.0-or-later
"""L2TP, versions 2 and 3: what opens a connection, and what does not."""

from struct import pack

import pytest
from scapy.fields import PacketListField
from scapy.layers.l2tp import L2TP

from tests.unit.tunnels.crafting import cut, ends, flipped, packet, read
from vpngate.packets import FlowKey, Transport
from vpngate.recognition import Message, Role
from vpngate.tunnels.l2tp import TUNNEL
from vpngate.tunnels.messages import l2tp as wire

PORTS = (1701, 1701)
ODD = (49152, 1701)
ANSWERED_ELSEWHERE = (49152, 50001)
SCCRQ, SCCRP, SCCCN = 1, 2, 3
CLIENT_ID, SERVER_ID = 0x1234, 0xBEEF


class Control(wire.Header):
    """A control message whole."""

    name = "L2TP control"
    fields_desc = [  # noqa: RUF012
        *wire.Header.fields_desc,
        PacketListField("avps", [], wire.AVP),
    ]

    def post_build(self, pkt: bytes, pay: bytes) -> bytes:
        """Fill in the length of the whole message."""
        if self.length is None:
            pkt = pkt[:2] + len(pkt).to_bytes(2) + pkt[4:]
        return pkt + pay


def avp(
    attribute: int,
    value: bytes,
    *,
    flags: int = 0x8000,
    vendor: int = 0,
    size: int | None = None,
) -> bytes:
    length = 6 + len(value) if size is None else size
    return pack(">HHH", flags | length, vendor, attribute) + value


HIDDEN = 0xC000
HOST, FRAMING = avp(7, b"lac.example"), avp(3, bytes(3) + b"\x03")
PROTOCOL = avp(2, b"\x01\x00", flags=0)


def control(
    message_type: int,
    *avps: bytes,
    to: int = 0,
    numbers: tuple[int, int] = (0, 0),
    version: int = 2,
    flags: int = 0xC8,
) -> bytes:
    body = avp(0, message_type.to_bytes(2)) + b"".join(avps)
    receiver = to.to_bytes(2) + b"\0\0" if version == 2 else to.to_bytes(4)
    fixed = pack(">BBH", flags, version, 12 + len(body)) + receiver
    return fixed + pack(">HH", *numbers) + body


def assigned(number: int, version: int = 2) -> bytes:
    if version == 2:
        return avp(9, number.to_bytes(2))
    return avp(61, number.to_bytes(4))


def opening(version: int) -> tuple[bytes, bytes, bytes]:
    """SCCRQ, SCCRP and SCCCN of one connection."""
    same = (PROTOCOL, HOST, FRAMING) if version == 2 else (HOST,)
    return (
        control(SCCRQ, *same, assigned(CLIENT_ID, version), version=version),
        control(
            SCCRP,
            *same,
            assigned(SERVER_ID, version),
            to=CLIENT_ID,
            numbers=(0, 1),
            version=version,
        ),
        control(SCCCN, to=SERVER_ID, numbers=(1, 1), version=version),
    )


REQUEST, REPLY, CONNECTED = opening(2)
REQUEST_3, REPLY_3, CONNECTED_3 = opening(3)


def to_server(payload: bytes, ports: tuple[int, int] = PORTS) -> Message | None:
    return read(TUNNEL, Transport.UDP, payload, ports)


def to_client(payload: bytes, ports: tuple[int, int] = PORTS) -> Message | None:
    return read(TUNNEL, Transport.UDP, payload, ports, back=True)


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("ports", [PORTS, ODD])
@pytest.mark.parametrize("ipv6", [False, True])
def test_a_reply_names_the_tunnel_that_the_request_assigned(
    version: int, ports: tuple[int, int], *, ipv6: bool
) -> None:
    request, reply, _ = opening(version)
    first = read(TUNNEL, Transport.UDP, request, ports, ipv6=ipv6)
    second = read(TUNNEL, Transport.UDP, reply, ports, ipv6=ipv6, back=True)
    assert first is not None
    assert second is not None
    assert (first.role, second.role) == (Role.INITIATION, Role.RESPONSE)
    assert first.token == second.token == CLIENT_ID.to_bytes(4)
    assert second.conclusive


@pytest.mark.parametrize("version", [2, 3])
def test_a_server_may_answer_from_a_port_of_its_choice(version: int) -> None:
    """RFC 2661 section 8.1: then the reply is the first packet of another flow."""
    _, reply, connected = opening(version)
    first = to_client(reply, ANSWERED_ELSEWHERE)
    second = to_server(connected, ANSWERED_ELSEWHERE)
    assert first is not None
    assert second is not None
    assert (first.role, second.role) == (Role.INITIATION, Role.RESPONSE)
    assert first.token == second.token == SERVER_ID.to_bytes(4)


def test_scapy_agrees_on_the_header() -> None:
    for seen in (L2TP(REPLY), Control(REPLY)):
        assert (seen.version, seen.tunnel_id, seen.session_id) == (2, CLIENT_ID, 0)
        assert (seen.ns, seen.nr) == (0, 1)
    assert str(L2TP(REPLY).hdr) == "sequence+length+control"


@pytest.mark.parametrize(
    "message", [REQUEST, REPLY, CONNECTED, REQUEST_3, REPLY_3, CONNECTED_3]
)
def test_the_classes_describe_every_byte(message: bytes) -> None:
    seen = Control(message)
    assert seen.length == len(message)
    assert seen.avps[0].sprintf("%attribute%") == "Message Type"
    assert sum(a.length for a in seen.avps) == len(message) - 12
    seen.length = None
    for each in seen.avps:
        each.length = None
    rebuilt = seen.copy()
    rebuilt.raw_packet_cache = None
    assert bytes(rebuilt) == message


def test_a_wrong_length_can_be_built() -> None:
    wrong = bytes(Control(length=99, avps=[wire.AVP(length=5)]))
    assert wrong[2:4] == b"\0\x63"
    assert wrong[12:14] == b"\x80\x05"
    assert to_server(wrong) is None


def test_what_scapy_builds_is_read() -> None:
    values = {0: b"\0\x01", 2: b"\x01\0", 7: b"lac", 9: b"\x12\x34"}
    avps = [wire.AVP(attribute=number, value=value) for number, value in values.items()]
    message = to_server(bytes(Control(avps=avps)))
    assert message is not None
    assert message.token == CLIENT_ID.to_bytes(4)


def test_avps_come_in_any_order_behind_the_message_type() -> None:
    several = [
        HOST,
        assigned(CLIENT_ID),
        avp(8, b"vendor", flags=0),
        avp(10, b"\0\x04"),
        PROTOCOL,
        FRAMING,
        avp(1, b"unknown", vendor=9, flags=0),
    ]
    for turn in range(len(several)):
        message = to_server(control(SCCRQ, *several[turn:], *several[:turn]))
        assert message is not None
        assert message.token == CLIENT_ID.to_bytes(4)


def test_other_avps_may_be_hidden() -> None:
    avps = (PROTOCOL, HOST, avp(36, bytes(16)), avp(11, bytes(18), flags=HIDDEN))
    message = to_server(control(SCCRQ, *avps, assigned(CLIENT_ID)))
    assert message is not None
    assert message.token == CLIENT_ID.to_bytes(4)


def test_a_hidden_tunnel_id_opens_and_leaves_the_token_unknown() -> None:
    avps = (PROTOCOL, HOST, avp(36, bytes(16)), avp(9, bytes(20), flags=HIDDEN))
    message = to_server(control(SCCRQ, *avps))
    assert message is not None
    assert message.role is Role.INITIATION
    assert message.token == b""


@pytest.mark.parametrize(
    "payload",
    [
        control(SCCRQ, HOST, assigned(1)),  # no protocol version
        control(SCCRQ, PROTOCOL, assigned(1)),  # no host name
        control(SCCRQ, PROTOCOL, HOST),  # no assigned tunnel
        control(SCCRQ, PROTOCOL, avp(7, b""), assigned(1)),
        control(SCCRQ, avp(2, b"\x02\x00"), HOST, assigned(1)),
        control(SCCRQ, PROTOCOL, HOST, assigned(0)),
        control(SCCRQ, PROTOCOL, HOST, avp(9, b"\0\0\0\x01")),
        control(SCCRQ, HOST, version=3),  # no assigned connection
        control(SCCRQ, assigned(1, 3), version=3),  # no host name
        control(SCCRQ, HOST, assigned(1), version=3),  # of version 2
        control(SCCRQ, PROTOCOL, HOST, assigned(1), to=7),
        control(SCCRQ, PROTOCOL, HOST, assigned(1), numbers=(1, 0)),
        control(SCCRQ, PROTOCOL, HOST, assigned(1), numbers=(0, 1)),
        control(SCCRQ, PROTOCOL, HOST, avp(1, b"x", flags=0x0400), assigned(1)),
        control(SCCRQ, PROTOCOL, HOST, assigned(1), avp(1, b"", size=5)),
        control(SCCRQ, PROTOCOL, HOST, assigned(1), avp(1, b"", size=7)),
        control(SCCRQ, PROTOCOL, HOST, assigned(1), b"\x80"),
        control(SCCRQ, PROTOCOL, HOST, assigned(1), version=1),  # L2F
        control(SCCRQ, PROTOCOL, HOST, assigned(1), flags=0xC9),  # priority
        control(SCCRQ, PROTOCOL, HOST, assigned(1), flags=0xCA),  # offset
        control(SCCRQ, PROTOCOL, HOST, assigned(1), flags=0x88),  # no length
        control(4, PROTOCOL, HOST, assigned(1)),  # StopCCN
        control(6),  # HELLO
        pack(">BBHHHHH", 0xC8, 2, 12, 1, 0, 2, 2),  # ZLB
        pack(">BBHHHHH", 0xC8, 2, 12, 0, 0, 0, 0),
        b"",
    ],
)
def test_what_is_not_a_request_is_none(payload: bytes) -> None:
    assert to_server(payload) is None


def test_the_message_type_stands_first_and_in_clear() -> None:
    rest = PROTOCOL + HOST + assigned(1)
    kind = SCCRQ.to_bytes(2)

    def message(avps: bytes) -> Message | None:
        return to_server(pack(">BBHIHH", 0xC8, 2, 12 + len(avps), 0, 0, 0) + avps)

    assert message(avp(0, kind) + rest) is not None
    assert message(avp(0, kind, flags=0) + rest) is not None
    assert message(rest + avp(0, kind)) is None
    assert message(avp(0, kind, flags=HIDDEN) + rest) is None
    assert message(avp(0, kind, vendor=9) + rest) is None


@pytest.mark.parametrize(
    ("payload", "at"),
    [(p, at) for p in (REQUEST, REPLY) for at in (0, 1, 2, 3, 6, 7, 8, 9, 10, 11)],
)
def test_no_fixed_byte_of_the_header_may_differ(payload: bytes, at: int) -> None:
    changed = flipped(payload, at)
    assert to_server(changed) is None
    assert to_client(changed) is None


def test_a_reply_is_addressed_and_numbered() -> None:
    avps = (PROTOCOL, HOST, assigned(SERVER_ID))
    assert to_client(control(SCCRP, *avps, numbers=(0, 1))) is None
    assert to_client(control(SCCRP, *avps, to=CLIENT_ID)) is None
    assert to_client(control(SCCRP, PROTOCOL, HOST, to=1, numbers=(0, 1))) is None


def test_a_request_goes_to_the_port() -> None:
    assert to_client(REQUEST, ODD) is None
    assert to_server(REQUEST, ANSWERED_ELSEWHERE) is None


def test_once_the_reply_has_confirmed_there_is_nothing_to_say() -> None:
    assert to_server(CONNECTED) is None


def test_a_session_has_not_begun_yet() -> None:
    assert to_client(REPLY[:6] + b"\0\x01" + REPLY[8:]) is None


def test_data_is_no_message() -> None:
    ppp = b"\xff\x03\xc0\x21"
    assert to_server(pack(">BBHH", 0x00, 2, 1, 2) + ppp) is None
    assert to_server(pack(">BBHHH", 0x40, 2, 12, 1, 2) + ppp) is None


def test_of_a_cut_message_what_is_there_is_checked() -> None:
    whole = packet(Transport.UDP, REQUEST, PORTS)
    kept = cut(whole, len(REQUEST) - len(assigned(CLIENT_ID)))
    assert TUNNEL.read(kept) == Message(
        Role.INITIATION, "start-control-connection-request"
    )
    alone = TUNNEL.read(whole)
    assert alone is not None
    assert alone.one_way
    assert TUNNEL.read(cut(whole, 11)) is None
    for size in range(whole.length):
        message = TUNNEL.read(cut(whole, size))
        assert message is None or message.role is Role.INITIATION


def test_a_message_has_a_most_of_avps() -> None:
    """Real peers send up to 9."""
    vendors = [avp(1, b"x", vendor=9, flags=0)] * 40

    def request(count: int) -> bytes:
        return control(SCCRQ, PROTOCOL, HOST, assigned(1), *vendors[: count - 4])

    assert to_server(request(32)) is not None
    assert to_server(request(33)) is None
    whole = packet(Transport.UDP, request(40), PORTS)
    assert TUNNEL.read(cut(whole, whole.length - 1)) is None


def test_nothing_but_udp_is_read() -> None:
    assert read(TUNNEL, Transport.TCP, REQUEST, PORTS) is None


def test_a_connection_covers_its_own_ports() -> None:
    flow = FlowKey.of(Transport.UDP, *ends(Transport.UDP, PORTS))
    assert TUNNEL.covers(flow) == (flow,)
