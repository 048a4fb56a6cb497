# SPDX-License-Identifier: GPL-2.0-or-later
"""OpenVPN: how a session begins, on UDP and TCP, whatever the port.

Specification: "OpenVPN Wire Protocol" (openvpn-rfc), sections 2 to 4, and OpenVPN's
doc/tls-crypt-v2.txt. Knows the two hard resets that open a session, in the four ways
a control channel is wrapped, and the client's next packet where only that can
confirm (tls-crypt hides whose session id a server answers). Does not know what
comes later: data packets show nothing but an opcode.

How a control packet begins, on TCP with its length in two bytes before it:

    plain     opcode  session id 8  acks  packet id 4 ...
    tls-auth  opcode  session id 8  HMAC 16..64  replay id 4  time 4  acks  packet id 4
    tls-crypt opcode  session id 8  replay id 4  time 4  tag 32  encrypted from acks on
    ... -v2   the same, and behind it the client's wrapped key, its length in the
              last two bytes

    acks      a count, that many packet ids, and, if there are any, the session id of
              the other side

What scapy's classes make of the same packets is in
`vpngate.tunnels.messages.openvpn`.
"""

import functools
import operator
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import IntEnum

from vpngate.packets import FlowKey, Packet, Transport
from vpngate.recognition import Carrier, Message, Role, SecondReader, Tunnel
from vpngate.signatures import Field, Shape, Signature

# What the specification fixes; sizes and offsets in bytes, of a message without the
# two bytes of its length that TCP puts first.
_TCP_PREFIX = 2
_SESSION_ID = slice(1, 9)
_SESSION_ID_SIZE = 8
_HEADER = 1 + _SESSION_ID_SIZE
_REPLAY_SIZE = 4 + 4  # replay id, time
_PACKET_ID_SIZE = 4

# HMACs that OpenVPN's libraries offer: MD5, SHA-1, SHA-224, SHA-256, MD5-SHA1,
# SHA-384, SHA-512.
_HMAC_SIZES = (16, 20, 28, 32, 36, 48, 64)

# A wrapped key: tag 32, key 256, metadata, length 2; at most 1024 in all.
_WRAPPED_KEY_MIN, _WRAPPED_KEY_MAX = 32 + 256 + 2, 1024

# A first packet acknowledges nothing and is packet 0; its answer acknowledges
# packet 0 of the session it names, and is packet 0 itself.
_FIRST = bytes(1 + _PACKET_ID_SIZE)
_ANSWER_ACK = b"\x01" + bytes(_PACKET_ID_SIZE)
_ANSWER_PACKET_ID = bytes(_PACKET_ID_SIZE)
_ANSWER_SIZE = len(_ANSWER_ACK) + _SESSION_ID_SIZE + len(_ANSWER_PACKET_ID)

# What stands before the encrypted part of tls-crypt, and the sizes with it. A 2.6
# server may ask in its reset, by a flag of six bytes, for the wrapped key again.
_CRYPT = _HEADER + _REPLAY_SIZE + 32
_CLIENT_CRYPT_SIZE = _CRYPT + len(_FIRST)
_SERVER_CRYPT_SIZES = (_CRYPT + _ANSWER_SIZE, _CRYPT + _ANSWER_SIZE + 6)
_ACK_CRYPT_SIZE = _CRYPT + len(_ANSWER_ACK) + _SESSION_ID_SIZE
_CONTROL_CRYPT_MIN = _CLIENT_CRYPT_SIZE + 1

# Replay ids start at 1, with 2.6's early negotiation at 0x0f000001. Our own limit: a
# packet sent again takes the next one, and is answered before the sixteenth.
_REPLAY_ID_MASK = b"\xf0\xff\xff\xf0"
_REPLAY_ID_TOPS = (0x00, 0x0F)

# Our own limits: a control packet fits a datagram (`--tls-mtu` is 1250); five times
# a common `--ping-restart` without a packet ends a verdict.
_CONTROL_MAX = 2047
_IDLE = 300  # seconds


class _Opcode(IntEnum):
    """Opcodes that begin a session, above three bits of key id, which is 0."""

    CLIENT_RESET_V1 = 1 << 3  # key method 1, gone since 2.4
    SERVER_RESET_V1 = 2 << 3
    CONTROL_V1 = 4 << 3
    ACK_V1 = 5 << 3
    CLIENT_RESET_V2 = 7 << 3
    SERVER_RESET_V2 = 8 << 3
    CLIENT_RESET_V3 = 10 << 3  # tls-crypt-v2
    CONTROL_WKC_V1 = 11 << 3  # control, with the wrapped key behind it


_CLIENT_RESETS = (_Opcode.CLIENT_RESET_V1, _Opcode.CLIENT_RESET_V2)
_SERVER_RESETS = (_Opcode.SERVER_RESET_V1, _Opcode.SERVER_RESET_V2)


@dataclass(frozen=True, slots=True)
class _Form:
    """A message in one of its wrappings: what of it is fixed.

    sizes      its shortest and longest size
    fields     its constant bytes, by offset in the message
    replay_at  where a replay id stands, None in a plain message
    token_at   where the client's session id stands; None if only inside the
               encrypted part
    wrapped    whether a wrapped key ends the message
    """

    role: Role
    opcodes: tuple[_Opcode, ...]
    sizes: tuple[int, int]
    fields: tuple[Field, ...]
    replay_at: int | None = None
    token_at: int | None = 1
    wrapped: bool = False

    def read(self, message: bytes, size: int) -> Message | None:
        """The message, or None; `message` may be the first part of its `size`."""
        shortest, longest = self.sizes
        if not shortest <= size <= longest or not all(
            field.holds(message) for field in self.fields
        ):
            return None
        if self.replay_at is not None and not _counts(message, self.replay_at):
            return None
        if self.wrapped and len(message) == size and not _ends_with_key(message):
            return None
        token = b""
        if self.token_at is not None:
            token = message[self.token_at : self.token_at + _SESSION_ID_SIZE]
            if len(token) < _SESSION_ID_SIZE or not any(token):
                return None
        name = _Opcode(message[0]).name.lower().replace("_", " ")
        return Message(self.role, name, token, conclusive=self.token_at is not None)


def _counts(message: bytes, at: int) -> bool:
    """Whether a replay id is one of the first few (its field has the rest)."""
    return message[at] in _REPLAY_ID_TOPS and message[at + 3] != 0


def _ends_with_key(message: bytes) -> bool:
    """Whether the last two bytes are the size of a wrapped key that fits.

    In a hard reset it has to fill what the fixed part leaves; `sizes` see to that.
    """
    length = int.from_bytes(message[-2:])
    rest = len(message) - length
    if message[0] == _Opcode.CLIENT_RESET_V3:
        return rest == _CLIENT_CRYPT_SIZE
    return _WRAPPED_KEY_MIN <= length <= _WRAPPED_KEY_MAX and rest >= _CONTROL_CRYPT_MIN


def _replay_field(at: int, behind: bytes = b"") -> Field:
    """A replay id, any time, and constants behind: one comparison."""
    if not behind:
        return Field(at, bytes(4), _REPLAY_ID_MASK)
    mask = _REPLAY_ID_MASK + bytes(_REPLAY_SIZE - 4) + b"\xff" * len(behind)
    return Field(at, bytes(_REPLAY_SIZE) + behind, mask)


def _plain_forms() -> Iterator[_Form]:
    client, server = _HEADER + len(_FIRST), _HEADER + _ANSWER_SIZE
    first = Field(_HEADER, _FIRST)
    yield _Form(Role.INITIATION, _CLIENT_RESETS, (client, client), (first,))
    token_at = _HEADER + len(_ANSWER_ACK)
    fields = (
        Field(_HEADER, _ANSWER_ACK),
        Field(token_at + _SESSION_ID_SIZE, _ANSWER_PACKET_ID),
    )
    yield _Form(
        Role.RESPONSE, _SERVER_RESETS, (server, server), fields, token_at=token_at
    )


def _tls_auth_forms(hmac_size: int) -> Iterator[_Form]:
    replay_at = _HEADER + hmac_size
    acks_at = replay_at + _REPLAY_SIZE
    size = acks_at + len(_FIRST)
    yield _Form(
        *(Role.INITIATION, _CLIENT_RESETS, (size, size)),
        (_replay_field(replay_at, _FIRST),),
        replay_at,
    )
    token_at = acks_at + len(_ANSWER_ACK)
    size = acks_at + _ANSWER_SIZE
    yield _Form(
        *(Role.RESPONSE, _SERVER_RESETS, (size, size)),
        (
            _replay_field(replay_at, _ANSWER_ACK),
            Field(token_at + _SESSION_ID_SIZE, _ANSWER_PACKET_ID),
        ),
        replay_at,
        token_at,
    )


def _tls_crypt_forms() -> Iterator[_Form]:
    fields = (_replay_field(_HEADER),)

    def form(
        role: Role,
        opcode: _Opcode,
        shortest: int,
        longest: int,
        token_at: int | None = 1,
    ) -> _Form:
        return _Form(role, (opcode,), (shortest, longest), fields, _HEADER, token_at)

    size = _CLIENT_CRYPT_SIZE
    yield form(Role.INITIATION, _Opcode.CLIENT_RESET_V2, size, size)
    yield replace(
        form(
            *(Role.INITIATION, _Opcode.CLIENT_RESET_V3),
            size + _WRAPPED_KEY_MIN,
            size + _WRAPPED_KEY_MAX,
        ),
        wrapped=True,
    )
    for size in _SERVER_CRYPT_SIZES:
        yield form(Role.RESPONSE, _Opcode.SERVER_RESET_V2, size, size, None)
    size = _ACK_CRYPT_SIZE
    yield form(Role.FOLLOW_UP, _Opcode.ACK_V1, size, size)
    size = _CONTROL_CRYPT_MIN
    yield form(Role.FOLLOW_UP, _Opcode.CONTROL_V1, size, _CONTROL_MAX)
    size += _WRAPPED_KEY_MIN
    yield replace(
        form(Role.FOLLOW_UP, _Opcode.CONTROL_WKC_V1, size, _CONTROL_MAX), wrapped=True
    )


# What names a client's session in clear comes first: a reset of tls-auth with
# SHA-256 has the size of one of tls-crypt.
_FORMS = (
    *_plain_forms(),
    *(form for size in _HMAC_SIZES for form in _tls_auth_forms(size)),
    *_tls_crypt_forms(),
)
_BY_OPCODE = {
    opcode.value: tuple(form for form in _FORMS if opcode in form.opcodes)
    for opcode in _Opcode
}


def _read(packet: Packet) -> Message | None:
    message, size = packet.payload, packet.length
    if packet.transport is Transport.TCP:
        size = int.from_bytes(message[:_TCP_PREFIX])
        message = message[_TCP_PREFIX : _TCP_PREFIX + size]
    if not message:
        return None
    for form in _BY_OPCODE.get(message[0], ()):
        found = form.read(message, size)
        if found is not None:
            return found
    return None


def _shape(form: _Form, transport: Transport) -> Shape:
    """What a packet filter can check of a form."""
    opcodes = functools.reduce(operator.and_, form.opcodes)
    differing = functools.reduce(operator.or_, form.opcodes) ^ opcodes
    opcode, mask = bytes([opcodes]), bytes([0xFF ^ differing])
    if transport is Transport.UDP:
        return Shape((Field(0, opcode, mask), *form.fields), (form.sizes,))
    shortest, longest = form.sizes
    free = (1 << (shortest ^ longest).bit_length()) - 1  # bits that sizes differ in
    prefix = (shortest & ~free).to_bytes(_TCP_PREFIX)
    mask = (0xFFFF ^ free).to_bytes(_TCP_PREFIX) + mask
    shifted = (replace(f, offset=f.offset + _TCP_PREFIX) for f in form.fields)
    return Shape((Field(0, prefix + opcode, mask), *shifted))


def _signatures() -> Iterator[Signature]:
    for transport in (Transport.UDP, Transport.TCP):
        for role in (Role.INITIATION, Role.RESPONSE, Role.FOLLOW_UP):
            shapes = tuple(_shape(f, transport) for f in _FORMS if f.role is role)
            name = f"openvpn_{transport.label}_{role.value.replace('-', '_')}"
            yield Signature(name, transport, shapes)


def _covers(flow: FlowKey) -> tuple[FlowKey, ...]:
    return (flow,)


def _second() -> SecondReader:
    from vpngate.tunnels.messages import openvpn  # noqa: PLC0415 - scapy comes with it

    return openvpn.read


# No message is one-way: a plain reset is six constant bytes, most of them zero.
TUNNEL = Tunnel(
    name="openvpn",
    signatures=tuple(_signatures()),
    read=_read,
    covers=_covers,
    carriers=(Carrier(Transport.UDP), Carrier(Transport.TCP)),
    idle=_IDLE,
    second=_second,
)
