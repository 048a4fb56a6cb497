# SPDX-License-Identifier: GPL-2.0-or-later
"""Every kind of confirmation of every tunnel, and which bytes of it are checked.

Knows the packets (made by the tests of each tunnel) in the order in which they confirm
a flow; does not know how they are read.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from struct import pack

from scapy.layers.l2 import GRE_PPTP

from tests.unit.flows.listing import sightings
from tests.unit.tunnels import crafting, test_ipsec, test_l2tp, test_openvpn
from tests.unit.tunnels import test_pptp as pptp
from tests.unit.tunnels import test_wireguard as wireguard
from vpngate.flows import FlowTable
from vpngate.packets import Packet, Transport
from vpngate.recognition import Evidence, Heard, Message, Tunnel
from vpngate.second_reading import Outcome, second_reading
from vpngate.tunnels import all_tunnels
from vpngate.tunnels.messages import openvpn_layers as wire

UDP, TCP, GRE, ESP = Transport.UDP, Transport.TCP, Transport.GRE, Transport.ESP
TUNNELS = {tunnel.name: tunnel for tunnel in all_tunnels()}


@dataclass(frozen=True)
class Said:
    """A payload, from client to server or back.

    checked  offsets that have to be as they are
    allowed  other values that a checked byte may have
    """

    payload: bytes
    back: bool = False
    checked: tuple[int, ...] = ()
    allowed: Mapping[int, Iterable[int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Confirmation:
    """What confirms a flow."""

    name: str
    tunnel: str
    transport: Transport
    ports: tuple[int, int]
    said: tuple[Said, ...]

    def packets(self, *, ipv6: bool = False) -> list[Packet]:
        return [
            crafting.packet(
                self.transport, said.payload, self.ports, back=said.back, ipv6=ipv6
            )
            for said in self.said
        ]


def heard(tunnel: Tunnel, packets: Iterable[Packet]) -> list[Heard]:
    """The packets in which the first reader sees a message, and the messages."""
    sound = tunnel in all_tunnels()
    read = ((one, _read(tunnel, one) if sound else tunnel.read(one)) for one in packets)
    return [Heard(packet, message) for packet, message in read if message]


@lru_cache(maxsize=64)
def _read(tunnel: Tunnel, packet: Packet) -> Message | None:
    """What a reader sees that only looks at the packet, which a broken one may not."""
    return tunnel.read(packet)


def confirms(tunnel: Tunnel, packets: Iterable[Packet]) -> bool:
    """Whether the first reader confirms a flow by these packets, without the second."""
    table = FlowTable(10, lambda *_: True)
    for now, one in enumerate(heard(tunnel, packets)):
        table.observe(one, tunnel, now / 10)
    return [s.evidence for s in sightings(table)] == [Evidence.CONFIRMED]


def both_confirm(tunnel: Tunnel, packets: Iterable[Packet]) -> bool:
    """Whether the two readers together confirm a flow."""
    packets = list(packets)
    return (
        confirms(tunnel, packets)
        and second_reading(tunnel, heard(tunnel, packets)) is Outcome.AGREED
    )


def _offsets(*ranges: tuple[int, int]) -> tuple[int, ...]:
    return tuple(at for first, end in ranges for at in range(first, end))


def _wireguard() -> Iterable[Confirmation]:
    for name, answer, index in (
        ("response", wireguard.RESPONSE, 8),
        ("cookie", wireguard.COOKIE, 4),
    ):
        yield Confirmation(
            f"WireGuard, {name}",
            *("wireguard", UDP, wireguard.PORTS),
            (
                Said(wireguard.INITIATION, checked=_offsets((0, 8))),
                Said(answer, True, _offsets((0, 4), (index, index + 4))),
            ),
        )


_FRAGMENT = 132
_IKE_FIXED = _offsets((0, 8), (16, 28))
_PAYLOAD_1 = _offsets((29, 32))  # reserved bits and length of the first payload


def _ike() -> Iterable[Confirmation]:
    t = test_ipsec
    for question, answer, name in t.OPENINGS:
        version_1 = "IKEv1" in name
        # The critical bit of version 2; the type of what follows is free.
        allowed: dict[int, Iterable[int]] = {} if version_1 else {29: (0x80,)}
        if name == "IKE_SA_INIT":
            allowed[31] = (44 + 72,)  # as long as with the payload behind it
        doi = _offsets((32, 36)) if version_1 else ()
        fixed = _IKE_FIXED + _PAYLOAD_1 + doi
        request = Said(question, False, fixed + _offsets((8, 16)), allowed)
        response = Said(answer, True, fixed, allowed)
        how = ""
        if answer[16] == _FRAGMENT:
            # Its header and numbers, and the same of what it is a part of: how long
            # that is, and its payloads, the next fragments say.
            begins = _offsets((0, 32), (34, 62), (65, 66), (68, 72))
            response = Said(answer, True, begins)
            how = ", in fragments"
        elif version_1 and question[-1] == 0:
            how = ", padded"
            request, response = (
                replace(said, checked=(*said.checked, len(said.payload) - 1))
                for said in (request, response)
            )
        yield Confirmation(f"{name}{how}", "ipsec", UDP, t.IKE, (request, response))
        yield Confirmation(
            f"{name}{how}, behind the marker",
            *("ipsec", UDP, t.NATT),
            (_marked(request), _marked(response)),
        )
    sealed = _offsets((0, 28), (29, 32))
    asked = Said(t.IKE_AUTH, False, sealed, {29: (0x80,)})
    told = Said(t.IKE_AUTH_ANSWER, True, sealed, {29: (0x80,)})
    yield Confirmation(
        "IKEv2 exchange", "ipsec", UDP, t.NATT, (_marked(asked), _marked(told))
    )
    parts = [
        Said(
            t.ike(t.payload(0, pack(">HH", 1, 2) + bytes(60)), 53, 35, flags),
            back,
            sealed + _offsets((33, 36)),
            # A fragment's number and their count: 1 of 2 and more, 256 of more.
            {
                16: (46,),
                29: (0x80,),
                33: (2,),
                34: range(1, 256),
                35: (1, *range(3, 256)),
            },
        )
        for flags, back in ((0x08, False), (0x20, True))
    ]
    yield Confirmation("IKEv2 fragments", "ipsec", UDP, t.IKE, tuple(parts))
    clear = _offsets((0, 16), (17, 20), (24, 28), (29, 32))
    modes = {18: (4,), 19: (2, 4, 6)}
    late = Said(t.KEY_EXCHANGE_1, False, clear, modes)
    other = t.KEY_EXCHANGE_1[:-1] + b"\7"
    yield Confirmation(
        "IKEv1 seen late",
        *("ipsec", UDP, t.IKE),
        (late, Said(other, True, clear, modes)),
    )
    quick = {18: (2, 4, 5, 6, 33), 19: (3, 5, 7)}
    encrypted = _offsets((0, 16), (17, 20), (24, 28))
    yield Confirmation(
        "IKEv1 quick mode",
        *("ipsec", UDP, t.NATT),
        (
            _marked(Said(t.QUICK_MODE, False, encrypted, quick)),
            _marked(Said(t.QUICK_MODE[:-1] + b"\7", True, encrypted, quick)),
        ),
    )


def _marked(said: Said) -> Said:
    size = len(test_ipsec.MARKER)
    return Said(
        test_ipsec.MARKER + said.payload,
        said.back,
        (*range(size), *(at + size for at in said.checked)),
        {at + size: values for at, values in said.allowed.items()},
    )


def _esp() -> Iterable[Confirmation]:
    def packets(spi: int, *numbers: int) -> list[Said]:
        return [
            # With another SPI no two packets advance on one; a reserved one is none.
            Said(pack(">II", spi, n) + bytes(24), spi == 0x2002, _offsets((0, 4)))
            for n in numbers
        ]

    said = (*packets(0x1001, 1, 2, 3), *packets(0x2002, 8, 9, 10))
    yield Confirmation("ESP", "ipsec", ESP, (0, 0), said)


def _pptp() -> Iterable[Confirmation]:
    capable = {19: range(4), 23: range(4)}
    yield Confirmation(
        "PPTP",
        *("pptp", TCP, pptp.PORTS),
        (
            Said(pptp.REQUEST, False, _offsets((0, 24)), capable),
            Said(pptp.REPLY, True, _offsets((0, 24)), capable),
        ),
    )
    data = bytes(
        GRE_PPTP(call_id=7, seqnum_present=1, sequence_number=1) / b"\xff\x03\0\x21"
    )
    bare = bytes(GRE_PPTP(call_id=9, acknum_present=1, ack_number=1))
    yield Confirmation(
        "enhanced GRE",
        *("pptp", GRE, (0, 0)),
        (Said(data, False, _offsets((0, 6))), Said(bare, True, _offsets((0, 6)))),
    )


def _l2tp() -> Iterable[Confirmation]:
    t = test_l2tp
    for version in (2, 3):
        request, reply, connected = t.opening(version)
        # Header; flags, length, vendor and kind of the message type (mandatory or not),
        # and its value.
        fixed = _offsets((0, 20))
        hidden_or_not = {12: (0x00,)}
        receiver = _offsets((4, 8))
        yield Confirmation(
            f"L2TPv{version}",
            *("l2tp", UDP, t.PORTS),
            (
                Said(request, False, fixed, hidden_or_not),
                Said(reply, True, fixed, hidden_or_not),
            ),
        )
        yield Confirmation(
            f"L2TPv{version}, answered from another port",
            *("l2tp", UDP, t.ANSWERED_ELSEWHERE),
            (
                Said(
                    reply,
                    True,
                    tuple(at for at in fixed if at not in receiver),
                    hidden_or_not,
                ),
                Said(connected, False, fixed, hidden_or_not),
            ),
        )


_RESETS = {0: (0x08, 0x38)}
_ANSWERS = {0: (0x10, 0x40)}
# The last of a replay id's bytes may count to 15, the first announce negotiation.
_REPLAYS = (range(1, 16), (0x0F,))


def _openvpn_in_clear() -> Iterable[Confirmation]:
    t = test_openvpn
    for size in (0, *t.HMAC_SIZES):
        wrapped = partial(t.tls_auth, size) if size else t.plain
        name = f"OpenVPN, tls-auth, {8 * size} bits" if size else "OpenVPN, plain"
        behind = 9 + (size + 8 if size else 0)  # acks
        replay = _offsets((9 + size, 13 + size)) if size else ()
        counted = {9 + size: _REPLAYS[1], 12 + size: _REPLAYS[0]} if size else {}
        reset = Said(
            wrapped(wire.CLIENT_RESET_V2, session_id=t.CLIENT_ID),
            False,
            (*range(9), *replay, *range(behind, behind + 5)),
            {**_RESETS, **counted},
        )
        for how, opcode, acks, also, others in (
            ("", wire.SERVER_RESET_V2, (0,), _ANSWERS, {}),
            # Of two packets that are acknowledged, one may be any early one.
            (
                *(", two acks", wire.SERVER_RESET_V2, (1, 0), _ANSWERS),
                {behind + 4: range(2, 8)},
            ),
            (", resets crossed", wire.ACK_V1, (0,), {}, {}),
        ):
            answer = wrapped(opcode, **t.acknowledging(*acks))
            yield from _on_both(
                f"{name}{how}",
                reset,
                Said(
                    answer,
                    True,
                    (0, *replay, *range(behind, len(answer))),
                    {**also, **counted, **others},
                ),
            )


def _openvpn() -> Iterable[Confirmation]:
    t = test_openvpn
    yield from _openvpn_in_clear()
    # Which of the resets, and what follows it, is told by size alone.
    crypt = _offsets((9, 13))
    counted = {9: _REPLAYS[1], 12: _REPLAYS[0]}
    # What may begin with any magic number has two bytes that are free together, and
    # the second is so alone where the first says that it is one.
    any_magic = {**counted, 9: range(1, 256)}
    fixed = (*range(9), *crypt)
    key = t.wrapped_key(299)
    told = Said(
        t.tls_crypt(wire.SERVER_RESET_V2, t.SERVER_ID, 17), True, (0, *crypt), counted
    )
    twice, crossed = (
        Said(
            t.tls_crypt(wire.SERVER_RESET_V2, t.SERVER_ID, size),
            *(True, (0, *crypt), counted),
        )
        for size in (21, 5)
    )
    follow_ups = {
        "ack": t.tls_crypt(wire.ACK_V1, t.CLIENT_ID, 13, 2),
        "control": t.tls_crypt(wire.CONTROL_V1, t.CLIENT_ID, 300, 2),
    }
    for name, following in follow_ups.items():
        yield from _on_both(
            f"OpenVPN, tls-crypt, {name}",
            Said(
                t.tls_crypt(wire.CLIENT_RESET_V2, t.CLIENT_ID, 5), False, fixed, counted
            ),
            told,
            Said(following, False, fixed, {**any_magic, 0: (wire.CONTROL_V1 << 3,)}),
        )
    opening = t.tls_crypt(wire.CLIENT_RESET_V2, t.CLIENT_ID, 5)
    for how, answer in (("two acks", twice), ("resets crossed", crossed)):
        yield from _on_both(
            f"OpenVPN, tls-crypt, control, {how}",
            Said(opening, False, fixed, counted),
            answer,
            Said(follow_ups["control"], False, fixed, any_magic),
        )
    reset = t.tls_crypt(wire.CLIENT_RESET_V3, t.CLIENT_ID, 5) + key
    following = t.tls_crypt(wire.CONTROL_WKC_V1, t.CLIENT_ID, 300, 2) + key
    ends = (len(reset) - 2, len(reset) - 1)
    also = {**any_magic, 0: (wire.CONTROL_V1 << 3,)}
    yield from _on_both(
        "OpenVPN, tls-crypt-v2",
        Said(reset, False, (*fixed, *ends), any_magic),
        told,
        Said(following, False, fixed, also),
    )
    reset = t.tls_crypt(wire.CLIENT_RESET_V3, t.CLIENT_ID, 5, 0x0A010001) + key
    following = t.tls_crypt(wire.CONTROL_WKC_V1, t.CLIENT_ID, 300, 0x0A010002) + key
    magic = {**any_magic, 10: range(256)}
    yield from _on_both(
        "OpenVPN, tls-crypt-v2, another magic number",
        Said(reset, False, (*fixed, *ends), magic),
        told,
        Said(following, False, fixed, {**also, **magic}),
    )


def _on_both(name: str, *said: Said) -> Iterable[Confirmation]:
    ports = test_openvpn.PORTS
    yield Confirmation(name, "openvpn", UDP, ports, said)
    over_tcp = tuple(
        Said(
            len(s.payload).to_bytes(2) + s.payload,
            s.back,
            tuple(at + 2 for at in s.checked),
            {at + 2: values for at, values in s.allowed.items()},
        )
        for s in said
    )
    yield Confirmation(f"{name}, on TCP", "openvpn", TCP, ports, over_tcp)


CONFIRMATIONS = (
    *_wireguard(),
    *_ike(),
    *_esp(),
    *_pptp(),
    *_l2tp(),
    *_openvpn(),
)
