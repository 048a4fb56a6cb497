# SPDX-License-Identifier: GPL-2.0-or-later
"""OpenVPN's control channel: the messages that a session begins with, byte by byte.

Specification: "OpenVPN Wire Protocol" (openvpn-rfc), sections 2 to 4, and OpenVPN's
doc/tls-crypt-v2.txt. Knows the two hard resets that open a session, in the four ways
a control channel is wrapped; the acknowledgement that answers instead where two peers
call each other and their resets cross; and the client's next packet where only that
can confirm (tls-crypt hides whose session id a server answers). Does not know ports,
transports, or what comes later: data packets show nothing but an opcode.

How a control packet begins:

    plain     opcode  session id 8  acks  packet id 4 ...
    tls-auth  opcode  session id 8  HMAC 16..64  replay id 4  time 4  acks  packet id 4
    tls-crypt opcode  session id 8  replay id 4  time 4  tag 32  encrypted from acks on
    ... -v2   the same, and behind it the client's wrapped key, its length in the
              last two bytes

    acks      a count, that many packet ids, and, if there are any, the session id of
              the other side
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

from vpngate.recognition import Message, Role
from vpngate.signatures import Field

# What the specification fixes; sizes and offsets in bytes.
_SESSION_ID = slice(1, 9)
_SESSION_ID_SIZE = 8
_HEADER = 1 + _SESSION_ID_SIZE
_REPLAY_SIZE = 4 + 4  # replay id, time
PACKET_ID_SIZE = 4

# HMACs that OpenVPN's libraries offer: MD5, SHA-1, SHA-224, SHA-256, MD5-SHA1,
# SHA-384, SHA-512.
_HMAC_SIZES = (16, 20, 28, 32, 36, 48, 64)

# A wrapped key: tag 32, key 256, metadata, length 2; at most 1024 in all.
_WRAPPED_KEY_MIN, _WRAPPED_KEY_MAX = 32 + 256 + 2, 1024

# A first packet acknowledges nothing and is packet 0; its answer acknowledges packet 0
# of the session it names, and perhaps more (a client may send its reset twice), and is
# packet 0 itself, or an acknowledgement alone, which has no number. Control packets
# carry up to four acknowledgements; of such early packets, that their numbers are below
# eight is our own limit.
_FIRST = bytes(1 + PACKET_ID_SIZE)
_MOST_ACKS = 4
_ACK_ID_MASK = b"\xff\xff\xff\xf8"
_ACKS = bytes(1 + PACKET_ID_SIZE)  # how many, and the first
_ACKS_MASK = b"\xf8" + _ACK_ID_MASK
_ACK_SIZES = tuple(
    1 + count * PACKET_ID_SIZE + _SESSION_ID_SIZE for count in range(1, _MOST_ACKS + 1)
)
_ANSWER_PACKET_ID = bytes(PACKET_ID_SIZE)
_ANSWER_SIZES = tuple(size + len(_ANSWER_PACKET_ID) for size in _ACK_SIZES)

# What stands before the encrypted part of tls-crypt, and the sizes with it. A 2.6
# server may ask in its reset, by a flag of six bytes, for the wrapped key again. One
# that crosses its client's reset acknowledges nothing.
_CRYPT = _HEADER + _REPLAY_SIZE + 32
_CLIENT_CRYPT_SIZE = _CRYPT + len(_FIRST)
_SERVER_CRYPT_SIZES = (
    _CLIENT_CRYPT_SIZE,
    *(_CRYPT + size + flag for size in _ANSWER_SIZES for flag in (0, 6)),
)
_ACK_CRYPT_SIZES = tuple(_CRYPT + size for size in _ACK_SIZES)
_CONTROL_CRYPT_MIN = _CLIENT_CRYPT_SIZE + 1

# Replay ids start at 1, or at a magic number that announces early negotiation:
# 0x0f000001 in OpenVPN's own code, other ones elsewhere, none with a first byte of
# zero. Our own limit: a packet sent again takes the next id, and is answered before the
# sixteenth.
_REPLAY_ID_MASK = b"\xf0\xff\xff\xf0"
_ANY_MAGIC_MASK = b"\x00\x00\xff\xf0"
_USUAL_TOPS = (b"\x00\x00", b"\x0f\x00")

# Our own limit: a control packet fits a datagram (`--tls-mtu` is 1250).
_CONTROL_MAX = 2047


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
_ANSWERS = (_Opcode.SERVER_RESET_V1, _Opcode.SERVER_RESET_V2, _Opcode.ACK_V1)


@dataclass(frozen=True, slots=True)
class Form:
    """A message in one of its wrappings: what of it is fixed.

    sizes      those that it may have: a range, or a few
    fields     its constant bytes, by offset in the message
    replay_at  where a replay id stands, None in a plain message
    any_magic  whether that may begin with any magic number
    acks_at    where, in clear, the list of acknowledgements stands that ends with the
               client's session id; None if what names the session is its own header
    conclusive whether it shows the client's session id at all
    wrapped    whether a wrapped key ends the message
    """

    role: Role
    opcodes: tuple[_Opcode, ...]
    sizes: Sequence[int]
    fields: tuple[Field, ...]
    replay_at: int | None = None
    any_magic: bool = False
    acks_at: int | None = None
    conclusive: bool = True
    wrapped: bool = False

    def read(self, message: bytes, size: int) -> Message | None:
        """The message, or None; `message` may be the first part of its `size`."""
        if size not in self.sizes or not all(f.holds(message) for f in self.fields):
            return None
        told_by_key = self.wrapped and len(message) == size
        if told_by_key and not _ends_with_key(message):
            return None
        if self.replay_at is not None:
            any_magic = self.any_magic and (told_by_key or not self.wrapped)
            if not _counts(message, self.replay_at, any_magic=any_magic):
                return None
        token: bytes | None = b""
        if self.acks_at is not None:
            token = _acknowledged(message, self.acks_at, size)
        elif self.conclusive:
            token = message[_SESSION_ID]
        if token is None or (self.conclusive and not any(token)):
            return None
        name = _Opcode(message[0]).name.lower().replace("_", " ")
        return Message(self.role, name, token, conclusive=self.conclusive)


def _counts(message: bytes, at: int, *, any_magic: bool) -> bool:
    """Whether a replay id is one of the first few (its field has the rest)."""
    top = message[at : at + 2]
    return bool(message[at + 3]) and (
        top in _USUAL_TOPS or (any_magic and bool(top[0]))
    )


def _ends_with_key(message: bytes) -> bool:
    """Whether the last two bytes are the size of a wrapped key that fits.

    In a hard reset it has to fill what the fixed part leaves; `sizes` see to that.
    """
    length = int.from_bytes(message[-2:])
    rest = len(message) - length
    if message[0] == _Opcode.CLIENT_RESET_V3:
        return rest == _CLIENT_CRYPT_SIZE
    return _WRAPPED_KEY_MIN <= length <= _WRAPPED_KEY_MAX and rest >= _CONTROL_CRYPT_MIN


def _acknowledged(message: bytes, at: int, size: int) -> bytes | None:
    """The session id behind a list of acknowledgements at `at`, or None.

    Packet 0 is among them, none is named twice, and behind the session id there is
    nothing but packet id 0, or nothing where a packet has none.
    """
    count = message[at]
    session_at = at + 1 + count * PACKET_ID_SIZE
    end = session_at + _SESSION_ID_SIZE
    behind = b"" if message[0] == _Opcode.ACK_V1 else _ANSWER_PACKET_ID
    if not 1 <= count <= _MOST_ACKS or size != end + len(behind):
        return None
    acks = [
        message[ack : ack + PACKET_ID_SIZE]
        for ack in range(at + 1, session_at, PACKET_ID_SIZE)
    ]
    early = (Field(0, bytes(PACKET_ID_SIZE), _ACK_ID_MASK).holds(ack) for ack in acks)
    if len(message) < size or message[end:] != behind or not all(early):
        return None
    if bytes(PACKET_ID_SIZE) not in acks or len(set(acks)) < count:
        return None
    return message[session_at:end]


def _replay_field(
    at: int, behind: bytes = b"", behind_mask: bytes = b"", *, any_magic: bool = False
) -> Field:
    """A replay id, any time, and what is behind: one comparison."""
    mask = _ANY_MAGIC_MASK if any_magic else _REPLAY_ID_MASK
    if not behind:
        return Field(at, bytes(4), mask)
    behind_mask = behind_mask or b"\xff" * len(behind)
    mask += bytes(_REPLAY_SIZE - len(mask)) + behind_mask
    return Field(at, bytes(_REPLAY_SIZE) + behind, mask)


def _clear_forms(
    acks_at: int, field: Callable[[bytes, bytes], Field], replay_at: int | None
) -> Iterator[Form]:
    """What shows its acknowledgements at `acks_at`, of which `field` is made."""
    size = acks_at + len(_FIRST)
    exact = b"\xff" * len(_FIRST)
    yield Form(
        *(Role.INITIATION, _CLIENT_RESETS, (size,)), (field(_FIRST, exact),), replay_at
    )
    sizes = {acks_at + size for size in (*_ACK_SIZES, *_ANSWER_SIZES)}
    yield Form(
        *(Role.RESPONSE, _ANSWERS, tuple(sorted(sizes))),
        # What is common to the opcodes, and to 1 to 4, are zeros, as in padding.
        (
            field(_ACKS, _ACKS_MASK),
            Field(0, bytes(1), differs=True),
            Field(acks_at, bytes(1), differs=True),
        ),
        replay_at,
        acks_at=acks_at,
    )


def _plain_forms() -> Iterator[Form]:
    return _clear_forms(_HEADER, functools.partial(Field, _HEADER), None)


def _tls_auth_forms(hmac_size: int) -> Iterator[Form]:
    replay_at = _HEADER + hmac_size
    field = functools.partial(_replay_field, replay_at)
    return _clear_forms(replay_at + _REPLAY_SIZE, field, replay_at)


def _tls_crypt_forms() -> Iterator[Form]:
    def form(
        role: Role, opcode: _Opcode, sizes: Sequence[int], *, any_magic: bool = False
    ) -> Form:
        field = _replay_field(_HEADER, any_magic=any_magic)
        return Form(role, (opcode,), sizes, (field,), _HEADER, any_magic)

    size = _CLIENT_CRYPT_SIZE
    yield form(Role.INITIATION, _Opcode.CLIENT_RESET_V2, (size,))
    sizes = range(size + _WRAPPED_KEY_MIN, size + _WRAPPED_KEY_MAX + 1)
    reset = form(Role.INITIATION, _Opcode.CLIENT_RESET_V3, sizes, any_magic=True)
    yield replace(reset, wrapped=True)
    answer = form(
        Role.RESPONSE, _Opcode.SERVER_RESET_V2, tuple(sorted(_SERVER_CRYPT_SIZES))
    )
    yield replace(answer, conclusive=False)
    follow_up = functools.partial(form, Role.FOLLOW_UP, any_magic=True)
    yield follow_up(_Opcode.ACK_V1, _ACK_CRYPT_SIZES)
    shortest = _CONTROL_CRYPT_MIN
    yield follow_up(_Opcode.CONTROL_V1, range(shortest, _CONTROL_MAX + 1))
    shortest += _WRAPPED_KEY_MIN
    yield replace(
        follow_up(_Opcode.CONTROL_WKC_V1, range(shortest, _CONTROL_MAX + 1)),
        wrapped=True,
    )


# What names a client's session in clear comes first: a reset of tls-auth with
# SHA-256 has the size of one of tls-crypt.
FORMS = (
    *_plain_forms(),
    *(form for size in _HMAC_SIZES for form in _tls_auth_forms(size)),
    *_tls_crypt_forms(),
)
_BY_OPCODE = {
    opcode.value: tuple(form for form in FORMS if opcode in form.opcodes)
    for opcode in _Opcode
}


def read(message: bytes, size: int) -> Message | None:
    """The message, or None; `message` may be the first part of its `size` bytes."""
    for form in _BY_OPCODE.get(message[0], ()) if message else ():
        found = form.read(message, size)
        if found is not None:
            return found
    return None
