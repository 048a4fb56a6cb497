# SPDX-License-Identifier: GPL-2.0-or-later
"""How each tunnel opens, message by message, as a forger would write it.

Knows whole messages as the specifications lay them out, and the port that each is
answered from; does not know who sends them, nor how they are recognised. Tokens are
fresh in each.
"""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from struct import pack

from scapy.contrib.ikev2 import (
    IKEv2,
    IKEv2_KE,
    IKEv2_Nonce,
    IKEv2_Proposal,
    IKEv2_SA,
    IKEv2_Transform,
)
from scapy.layers.pptp import (
    PPTPStartControlConnectionReply,
    PPTPStartControlConnectionRequest,
)

from vpngate.packets import Transport

UDP, TCP = Transport.UDP, Transport.TCP
_MARKER = bytes(4)  # RFC 3948 section 2.2
_CURVE25519 = 31  # RFC 8031
# RFC 7296 section 3.3.2: AES in CBC mode, SHA2-256 for PRF and integrity, and the
# group; each 8 bytes, and 4 more for the attribute of a key's length (section 3.3.5).
_TRANSFORMS = (
    {"transform_type": 1, "transform_id": 12, "length": 12, "key_length": 256},
    {"transform_type": 2, "transform_id": 5},
    {"transform_type": 3, "transform_id": 12},
    {"transform_type": 4, "transform_id": _CURVE25519},
)


@dataclass(frozen=True)
class Opening:
    """A first message and its answer.

    port    where the answer comes from
    one_way whether the first message alone is beyond doubt, so that `confirm =
            "one-way"` may act on it when a subscriber sends it
    """

    name: str
    tunnel: str
    transport: Transport
    port: int
    request: bytes
    answer: bytes
    one_way: bool = False


def wireguard() -> Opening:
    """WireGuard paper, sections 5.4.2 and 5.4.3."""
    index = secrets.token_bytes(4)
    request = b"\x01\0\0\0" + index + secrets.token_bytes(140)
    answer = b"\x02\0\0\0" + secrets.token_bytes(4) + index + secrets.token_bytes(80)
    return Opening("wireguard", "wireguard", UDP, 51820, request, answer)


def _resets() -> tuple[bytes, bytes]:
    """OpenVPN's hard resets, version 2, not wrapped: opcodes 7 and 8, key 0."""
    client, server = secrets.token_bytes(8), secrets.token_bytes(8)
    acknowledged = b"\x01" + bytes(4) + client
    return b"\x38" + client + bytes(5), b"\x40" + server + acknowledged + bytes(4)


def openvpn() -> Opening:
    return Opening("openvpn", "openvpn", UDP, 1194, *_resets())


def openvpn_tcp() -> Opening:
    """The same with its length in front, as on a stream."""
    request, answer = (pack(">H", len(m)) + m for m in _resets())
    return Opening("openvpn-tcp", "openvpn", TCP, 443, request, answer)


def _proposal() -> IKEv2_SA:
    transforms = None
    for fields in reversed(_TRANSFORMS):
        one = IKEv2_Transform(**fields)
        transforms = one / transforms if transforms else one
    proposal = IKEv2_Proposal(trans_nb=len(_TRANSFORMS), trans=transforms)
    return IKEv2_SA(prop=proposal)


def _sa_init(initiator: bytes, responder: bytes, flags: int) -> bytes:
    """IKE_SA_INIT (RFC 7296 section 1.2): SA, KE, Nonce."""
    return bytes(
        IKEv2(init_SPI=initiator, resp_SPI=responder, exch_type=34, flags=flags)
        / _proposal()
        / IKEv2_KE(group=_CURVE25519, ke=secrets.token_bytes(32))
        / IKEv2_Nonce(nonce=secrets.token_bytes(32))
    )


def _exchange() -> tuple[bytes, bytes]:
    initiator, responder = secrets.token_bytes(8), secrets.token_bytes(8)
    return (
        _sa_init(initiator, bytes(8), 0x08),
        _sa_init(initiator, responder, 0x20),
    )


def ike() -> Opening:
    return Opening("ike", "ipsec", UDP, 500, *_exchange(), one_way=True)


def ike_natt() -> Opening:
    """The same behind the non-ESP marker."""
    request, answer = (_MARKER + m for m in _exchange())
    return Opening("ike-natt", "ipsec", UDP, 4500, request, answer)


def _avp(attribute: int, value: bytes) -> bytes:
    return pack(">HHH", 0x8000 | 6 + len(value), 0, attribute) + value


def _control(kind: int, own: bytes, to: bytes, received: int) -> bytes:
    """A control message of RFC 2661 section 3.1 with the AVPs of section 6."""
    body = _avp(0, pack(">H", kind)) + _avp(2, b"\x01\0") + _avp(3, pack(">I", 3))
    body += _avp(7, b"lac.example") + _avp(9, own)
    head = pack(">HH", 0xC802, 12 + len(body)) + to + bytes(2)
    return head + pack(">HH", 0, received) + body


def l2tp() -> Opening:
    """SCCRQ and SCCRP of RFC 2661 sections 6.1 and 6.2."""
    ours, theirs = (bytes((1 + secrets.randbelow(255), n)) for n in (1, 2))
    request, answer = _control(1, ours, bytes(2), 0), _control(2, theirs, ours, 1)
    return Opening("l2tp", "l2tp", UDP, 1701, request, answer, one_way=True)


def pptp() -> Opening:
    """RFC 2637 sections 2.1 and 2.2."""
    request = bytes(PPTPStartControlConnectionRequest(host_name="lac.example"))
    answer = bytes(PPTPStartControlConnectionReply(host_name="lns.example"))
    return Opening("pptp", "pptp", TCP, 1723, request, answer, one_way=True)


def openings() -> Iterator[Opening]:
    """One of each."""
    for make in (wireguard, openvpn, ike, ike_natt, l2tp, openvpn_tcp, pptp):
        yield make()


def esp_in_udp(packets: int = 4) -> tuple[list[bytes], list[bytes]]:
    """RFC 3948 section 2.1: what either end sends in a tunnel that is up."""
    one, other = (pack(">I", 0xC0000000 | secrets.randbits(24)) for _ in range(2))
    up, down = (
        [spi + pack(">I", n) + secrets.token_bytes(88) for n in range(1, packets + 1)]
        for spi in (one, other)
    )
    return up, down
