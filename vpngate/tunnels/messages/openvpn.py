# SPDX-License-Identifier: GPL-2.0-or-later
"""OpenVPN's control channel by scapy classes: the second reader.

Knows what each field of a message that opens or carries on a session may hold
("OpenVPN Wire Protocol", openvpn-rfc, sections 2 to 4); does not know how they lie in
its bytes (`openvpn_layers.py`). Of a message that goes on in another segment, or was
cut, what has to be there is all but the part that is encrypted.
"""

from collections.abc import Iterator

from scapy.packet import Packet as Scapy

from vpngate.packets import Packet, Transport
from vpngate.recognition import Dissection, Message, Role
from vpngate.tunnels.messages.layers import Fields, Layer, holds, laid_over, shown
from vpngate.tunnels.messages.openvpn_layers import (
    ACK_V1,
    CLIENT_RESET_V1,
    CLIENT_RESET_V2,
    CLIENT_RESET_V3,
    CONTROL_V1,
    CONTROL_WKC_V1,
    SERVER_RESET_V1,
    SERVER_RESET_V2,
    SESSION_ID_SIZE,
    TAG_SIZE,
    ControlTlsCrypt,
    OverTCP,
    PlainControl,
    Start,
    tls_auth,
)

_NAMES = {
    CLIENT_RESET_V1: "client reset v1",
    SERVER_RESET_V1: "server reset v1",
    CONTROL_V1: "control v1",
    ACK_V1: "ack v1",
    CLIENT_RESET_V2: "client reset v2",
    SERVER_RESET_V2: "server reset v2",
    CLIENT_RESET_V3: "client reset v3",
    CONTROL_WKC_V1: "control wkc v1",
}


class _FirstReplays:
    """The replay ids that a session begins with: 1 to 15, behind a magic number or not.

    A magic number announces early negotiation by its first byte (0x0f000001 is the
    first one of OpenVPN's own); it is any one, or that one alone.
    """

    def __init__(self, *, any_magic: bool) -> None:
        self._any = any_magic

    def __contains__(self, replay_id: object) -> bool:
        if not isinstance(replay_id, int):
            return False
        magic, number = divmod(replay_id, 1 << 16)
        usual = magic in (0, 0x0F00)
        return 0 < number < 16 and (usual or (self._any and magic > 0xFF))  # noqa: PLR2004


_USUAL_REPLAYS = _FirstReplays(any_magic=False)
_ANY_REPLAYS = _FirstReplays(any_magic=True)

# The first packet of a session, and what answers it, where they are in clear; and the
# bytes that they have without an HMAC, and without acknowledgements. An answer has 1 to
# 4 of those, of the first eight packets.
_OPENS: Fields = {"key_id": 0, "ack_count": 0, "packet_id": 0}
_ANSWERS: Fields = {"key_id": 0, "ack_count": range(1, 5), "packet_id": 0}
_ACKNOWLEDGES: Fields = {"key_id": 0, "ack_count": range(1, 5)}
_IN_CLEAR = {
    CLIENT_RESET_V1: (Role.INITIATION, _OPENS, "session_id", 14),
    CLIENT_RESET_V2: (Role.INITIATION, _OPENS, "session_id", 14),
    SERVER_RESET_V1: (Role.RESPONSE, _ANSWERS, "remote_session_id", 22),
    SERVER_RESET_V2: (Role.RESPONSE, _ANSWERS, "remote_session_id", 22),
    ACK_V1: (Role.RESPONSE, _ACKNOWLEDGES, "remote_session_id", 18),
}
_DIGESTS = (16, 20, 28, 32, 36, 48, 64)  # bytes of an HMAC, from MD5 to SHA-512
_REPLAY_SIZE = 8  # bytes of replay id and time
_ACK_SIZE = 4
_ACK_COUNTS = range(5)
_EARLY_PACKETS = range(8)

# Under tls-crypt, the bytes that are encrypted: acks and packet id, in a first answer
# the acknowledged session too, unless the two resets crossed, and perhaps a flag of
# six; of a packet with a payload at least one more. And what of them is a wrapped key.
_SEALED = {
    CLIENT_RESET_V2: (Role.INITIATION, (5,), _USUAL_REPLAYS),
    CLIENT_RESET_V3: (Role.INITIATION, range(5 + 290, 5 + 1024 + 1), _ANY_REPLAYS),
    SERVER_RESET_V2: (
        Role.RESPONSE,
        (5, *(13 + 4 * acks + flag for acks in range(1, 5) for flag in (0, 6))),
        _USUAL_REPLAYS,
    ),
    ACK_V1: (Role.FOLLOW_UP, range(13, 26, 4), _ANY_REPLAYS),
    CONTROL_V1: (Role.FOLLOW_UP, range(6, 1999), _ANY_REPLAYS),
    CONTROL_WKC_V1: (Role.FOLLOW_UP, range(6 + 290, 1999), _ANY_REPLAYS),
}
_WITH_KEY = frozenset({CLIENT_RESET_V3, CONTROL_WKC_V1})
_IN_FRONT = SESSION_ID_SIZE + 1 + _REPLAY_SIZE + TAG_SIZE


def read(packet: Packet) -> Dissection | None:
    """The control packet that opens or carries on a session, field by field."""
    layers: list[Layer] = []
    data, size = packet.payload, packet.length
    if packet.transport is Transport.TCP:
        found = laid_over(OverTCP, data)
        if found is None:
            return None
        layers.append(found[0])
        size = found[0].fields["length"]
        data = found[1][:size]
    elif packet.transport is not Transport.UDP:
        return None
    start = laid_over(Start, data)
    if start is None:
        return None
    opcode = start[0].fields["opcode"]
    for layer, message in (
        *_in_clear(opcode, data, size),
        *_sealed(opcode, data, size),
    ):
        if message is not None:
            return Dissection(shown([*layers, layer]), message)
    return Dissection(shown([*layers, start[0]]), None)


_Reading = Iterator[tuple[Layer, Message | None]]


def _in_clear(opcode: int, data: bytes, size: int) -> _Reading:
    """Plain, or under tls-auth with each digest that its size allows."""
    if opcode not in _IN_CLEAR or len(data) != size:
        return
    role, fields, session, plain = _IN_CLEAR[opcode]
    for kind, replayed, least in _wrappings(plain):
        acks, rest = divmod(size - least, _ACK_SIZE)
        fits = not rest and acks in _ACK_COUNTS
        found = laid_over(kind, data) if fits else None
        if found is None:
            continue
        layer, behind = found
        wanted = {**fields, "replay_id": _USUAL_REPLAYS} if replayed else fields
        token = layer.fields.get(session, b"")
        # A field at the end may have got less than its size.
        whole = not behind and len(token) == SESSION_ID_SIZE and any(token)
        if whole and holds(layer, wanted) and _early(layer):
            yield layer, Message(role, _NAMES[opcode], token)
        else:
            yield layer, None


def _wrappings(plain: int) -> Iterator[tuple[type[Scapy], bool, int]]:
    """Plain and each digest: class, whether it has a replay id, the least size."""
    yield PlainControl, False, plain
    for digest in _DIGESTS:
        yield tls_auth(digest), True, plain + _REPLAY_SIZE + digest


def _early(layer: Layer) -> bool:
    """Whether what it acknowledges, if anything, is the first packet and its likes."""
    acks = layer.fields["acks"]
    distinct = set(acks)
    return not acks or (
        0 in distinct
        and len(distinct) == len(acks)
        and all(ack in _EARLY_PACKETS for ack in acks)
    )


def _sealed(opcode: int, data: bytes, size: int) -> _Reading:
    """Under tls-crypt."""
    found = laid_over(ControlTlsCrypt, data)
    if opcode not in _SEALED or found is None:
        return
    layer, _ = found
    role, sizes, replays = _SEALED[opcode]
    whole = len(data) == size
    if opcode in _WITH_KEY and not whole:
        replays = _USUAL_REPLAYS  # another magic number is told by the key alone
    fields: Fields = {"key_id": 0, "replay_id": replays}
    sealed, session = layer.fields["encrypted"], layer.fields["session_id"]
    right = (
        holds(layer, fields)
        and len(layer.fields["tag"]) == TAG_SIZE
        and size - _IN_FRONT in sizes
        and (not whole or _holds_its_key(opcode, sealed))
    )
    if right and role is Role.RESPONSE:
        # Whom it answers is encrypted.
        yield layer, Message(role, _NAMES[opcode], conclusive=False)
    elif right and any(session):
        yield layer, Message(role, _NAMES[opcode], session)
    else:
        yield layer, None


def _holds_its_key(opcode: int, sealed: bytes) -> bool:
    """Whether what ends with a wrapped key ends with one that fits."""
    key = int.from_bytes(sealed[-2:])
    rest = len(sealed) - key
    if opcode == CLIENT_RESET_V3:
        return rest == 5  # noqa: PLR2004
    return opcode != CONTROL_WKC_V1 or (290 <= key <= 1024 and rest >= 6)  # noqa: PLR2004
