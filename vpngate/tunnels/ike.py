# SPDX-License-Identifier: GPL-2.0-or-later
"""IKE, the key exchange of IPsec: version 1 (RFC 2408, 2409) and 2 (RFC 7296).

Knows the header both versions share and the chain of payloads behind it; of a
payload, no more than tells a first message from noise. Does not know ports, ESP,
or the marker before it on port 4500 (see `ipsec.py`), nor IKE over TCP (RFC 8229).
"""

from struct import Struct

from vpngate.recognition import Message, Role
from vpngate.signatures import Field, Shape
from vpngate.signatures.declaration import UDP_MAX_PAYLOAD

# The header (RFC 2408 section 3.1, RFC 7296 section 3.1): the initiator's SPI, called
# cookie in version 1, the responder's, first payload, version, exchange type, flags,
# message id, length of the whole message.
HEADER = Struct(">8s8sBBBBII")
_NO_SPI = bytes(8)
# Its fields that a fragment and what it is a part of share: both SPIs, version,
# exchange, flags, message id. And the one that names the first payload.
_SAME_IN_FRAGMENTS = (0, 1, 3, 4, 5, 6)
_AT_FIRST_OF_HEADER = 2
_AT_RESPONDER, _AT_FIRST, _AT_VERSION = 8, 16, 17
_VERSION_1, _VERSION_2 = 0x10, 0x20

# A payload begins with the next one's type, a flag byte, and its length. All bits of
# the flag byte are reserved in version 1, in version 2 all but the critical bit.
_PAYLOAD = Struct(">BBH")
_END = 0
# Our own limit: messages of real peers have at most 13.
_MOST_PAYLOADS = 32
_RESERVED = {_VERSION_1: 0xFF, _VERSION_2: 0x7F}

# Version 1: phase 1 is main or aggressive mode (RFC 2409 section 5), and its first
# payload SA, which begins with the domain of interpretation (RFC 2407 section 4.6.1).
_SA_1 = 1
# Of vendors: in clear, though what it is a part of may be encrypted. Behind its header
# stand the message's number, its own from 1 on, and whether it is the last.
_FRAGMENT_1 = 132
_NUMBERS_1 = Struct(">HBB")
_FIRST_1, _LAST_1 = 1, 0x01
# Some fill their messages up to whole words of 4 bytes, inside their length.
_MOST_PADDING_1 = 3
_MAIN, _AGGRESSIVE = 2, 4
_MODES = {_MAIN: "main mode", _AGGRESSIVE: "aggressive mode"}
_AT_DOI = HEADER.size + _PAYLOAD.size
_IPSEC_DOI = (1).to_bytes(4)
# Informational; transaction (draft-ietf-ipsec-isakmp-mode-cfg); quick; new group. They
# are encrypted; an informational one in clear is how a peer refuses.
_EXCHANGES_1 = frozenset({_MAIN, _AGGRESSIVE, 5, 6, 32, 33})
# Notification, delete, vendor id: a message of these alone negotiates nothing.
_ASIDES_1 = frozenset({11, 12, 13})
_ENCRYPTED = 0x01
_FLAGS_1 = 0x07  # encryption, commit, authentication only
_BLOCK = 8  # bytes: the smallest cipher block of version 1; the others are multiples

# Version 2: the initial exchanges are in clear, the others in an encrypted payload,
# whole or in fragments (RFC 7383), which comes last.
_SA_2, _NONCE, _SEALED, _SEALED_FRAGMENT = 33, 40, 46, 53
_SA_INIT, _RESUME = 34, 38  # RFC 7296 section 1.2, RFC 5723 section 4.3.1
# Their names, and the payload that neither request nor response can do without: what
# answers with a cookie, another group, another gateway or a refusal has none.
_INITIAL = {
    _SA_INIT: ("IKE_SA_INIT", _SA_2),
    _RESUME: ("IKE_SESSION_RESUME", _NONCE),
}
_REQUEST = "{} request"
SA_INIT_REQUEST = _REQUEST.format(_INITIAL[_SA_INIT][0])
_FROM_INITIATOR, _RESPONSE = 0x08, 0x20
# IKE_AUTH, CREATE_CHILD_SA, INFORMATIONAL; IKE_INTERMEDIATE (RFC 9242);
# IKE_FOLLOWUP_KE (RFC 9370).
_EXCHANGES_2 = frozenset({35, 36, 37, 43, 44})
_FRAGMENT = Struct(">HH")  # this one's number, from 1; how many there are
# What tells exchanges of the same two SPIs apart: type, message id, who asks.
_EXCHANGE_2 = Struct(">BI?")


def read(message: bytes, length: int) -> Message | None:
    """Returns the message in these bytes, or None. `length` is its length on the wire.

    A capture may hold less. Then the payloads are checked as far as they are there,
    and those that are required have to be among them.
    """
    if len(message) < HEADER.size:
        return None
    initiator, _, _, version, *_, stated = HEADER.unpack_from(message)
    if initiator == _NO_SPI or stated != length or version not in _RESERVED:
        return None
    if version == _VERSION_1:
        return _read_1(message, length)
    return _read_2(message, length)


def _read_1(message: bytes, length: int) -> Message | None:
    """A message of version 1.

    Only the first two say which side speaks; from then on both name both cookies.
    """
    header = HEADER.unpack_from(message)
    initiator, responder, first, version, exchange, flags, message_id, _ = header
    known = _EXCHANGES_1 if flags & _ENCRYPTED else _MODES
    if exchange not in known or flags & ~_FLAGS_1:
        return None
    if flags & _ENCRYPTED and first != _FRAGMENT_1:
        body = length - HEADER.size
        says_something = body > 0 and body % _BLOCK == 0
    else:
        payloads = _payloads(message, length, version)
        if payloads == [_FRAGMENT_1]:
            answer = _fragmented_answer(message)
            if answer is not None:
                return answer
        says_something = bool(payloads) and not _ASIDES_1.issuperset(payloads or ())
        if says_something and first == _SA_1:
            named = message[_AT_DOI : _AT_DOI + len(_IPSEC_DOI)]
            if flags or message_id or named != _IPSEC_DOI:
                return None
            name = f"IKEv1 {_MODES[exchange]}"
            return _opening(name, exchange, initiator, responder)
    if not says_something or responder == _NO_SPI:
        return None
    return Message(Role.EXCHANGE, "IKEv1 exchange", initiator + responder)


def _fragmented_answer(message: bytes) -> Message | None:
    """Returns the answer to an opening whose first fragment this is, or None.

    The fragment holds the header of the whole message, which has to agree with the
    header of the fragment.
    """
    at = HEADER.size + _PAYLOAD.size
    if len(message) < at + _NUMBERS_1.size + HEADER.size:
        return None
    _, number, flags = _NUMBERS_1.unpack_from(message, at)
    part = message[at + _NUMBERS_1.size :]
    outer, inner = HEADER.unpack_from(message), HEADER.unpack_from(part)
    (*_, stated), (*_, whole) = outer, inner
    here = stated - at - _NUMBERS_1.size
    complete = here == whole if flags & _LAST_1 else here < whole
    alike = all(outer[n] == inner[n] for n in _SAME_IN_FRAGMENTS)
    if number != _FIRST_1 or flags & ~_LAST_1 or not (complete and alike):
        return None
    if inner[_AT_FIRST_OF_HEADER] != _SA_1 or whole > UDP_MAX_PAYLOAD:
        return None
    answer = _read_1(part, whole)
    return answer if answer is not None and answer.role is Role.RESPONSE else None


def _read_2(message: bytes, length: int) -> Message | None:
    """A message of version 2: of an initial exchange, or sealed.

    A request for a cookie, and most refusals, leave the responder's SPI zero (RFC
    7296 section 2.6): they establish nothing, and are no message here.
    """
    header = HEADER.unpack_from(message)
    initiator, responder, first, version, exchange, flags, message_id, _ = header
    payloads = _payloads(message, length, version)
    if payloads is None:
        return None
    if exchange in _INITIAL:
        name, needed = _INITIAL[exchange]
        request = responder == _NO_SPI
        if flags != (_FROM_INITIATOR if request else _RESPONSE) or message_id:
            return None
        if needed not in payloads:
            return None
        return _opening(name, exchange, initiator, responder)
    sealed = first in (_SEALED, _SEALED_FRAGMENT) and responder != _NO_SPI
    known = exchange in _EXCHANGES_2 and not flags & ~(_FROM_INITIATOR | _RESPONSE)
    if not sealed or not known:
        return None
    # The initiator's request and the responder's response name the same exchange, and
    # the other way round: each end counts the exchanges that it asks for (RFC 7296
    # section 2.2), and the initiator's bit tells the ends apart.
    answers = bool(flags & _RESPONSE)
    by_initiator = bool(flags & _FROM_INITIATOR) is not answers
    token = initiator + responder + _EXCHANGE_2.pack(exchange, message_id, by_initiator)
    return Message(Role.EXCHANGE, "IKEv2 exchange", token, answers=answers)


def _opening(name: str, exchange: int, initiator: bytes, responder: bytes) -> Message:
    """Returns the first message or its answer; the answer names the responder's SPI."""
    token = initiator + exchange.to_bytes()
    if responder == _NO_SPI:
        return Message(Role.INITIATION, _REQUEST.format(name), token)
    return Message(Role.RESPONSE, f"{name} response", token)


def _payloads(message: bytes, length: int, version: int) -> list[int] | None:
    """The types of a message's payloads, as far as they were captured.

    None if they do not end with the message, or with padding that may be there, are
    too many, a reserved bit is set, or one that is sealed is not the last.
    """
    types = []
    kind, at = message[_AT_FIRST], HEADER.size
    while kind != _END and at + _PAYLOAD.size <= len(message):
        following, flags, size = _PAYLOAD.unpack_from(message, at)
        end = at + size
        if size < _PAYLOAD.size or end > length or flags & _RESERVED[version]:
            return None
        types.append(kind)
        if len(types) > _MOST_PAYLOADS:
            return None
        if version == _VERSION_2 and kind in (_SEALED, _SEALED_FRAGMENT):
            # Its "next payload" is the first one inside (RFC 7296 section 3.14).
            return types if end == length and _is_numbered(message, kind, at) else None
        kind, at = following, end
    if kind != _END:
        return types if len(message) < length else None
    padding = length - at
    may_be_padded = version == _VERSION_1 and message[_AT_FIRST] != _FRAGMENT_1
    most = _MOST_PADDING_1 if may_be_padded else 0
    return types if padding <= most and not any(message[at:length]) else None


def _is_numbered(message: bytes, kind: int, at: int) -> bool:
    """Whether what is at `at` is no fragment, or one with a valid number and total."""
    at += _PAYLOAD.size
    if kind != _SEALED_FRAGMENT or len(message) < at + _FRAGMENT.size:
        return True
    number, total = _FRAGMENT.unpack_from(message, at)
    return bool(1 <= number <= total)


def initial_shapes(offset: int) -> tuple[Shape, ...]:
    """Returns the shapes of the two opening messages, the header at `offset`."""
    mask = bytes((0xFF, ~(_SA_INIT ^ _RESUME) & 0xFF)) + b"\xff" * 5
    version_2 = [
        Field(_AT_VERSION, bytes((_VERSION_2, _SA_INIT, flags, 0, 0, 0, 0)), mask)
        for flags in (_FROM_INITIATOR, _RESPONSE)
    ]
    version_1 = [
        Field(_AT_FIRST, bytes((_SA_1, _VERSION_1, mode, 0, 0, 0, 0, 0)))
        for mode in _MODES
    ]
    doi = Field(_AT_DOI, _IPSEC_DOI)
    return tuple(
        _shape(offset, Field(_AT_RESPONDER, _NO_SPI, differs=answered), *fields)
        for answered, fields in (
            (False, version_2[:1]),
            (True, version_2[1:]),
            *((answered, (f, doi)) for answered in (False, True) for f in version_1),
        )
    )


def later_shapes(offset: int) -> tuple[Shape, ...]:
    """All that follows: both SPIs are set, and little else is fixed.

    The masks leave open what `read` looks at: 0 to 7 and 32 to 33 for the exchanges
    of version 1, 32 to 47 for those of version 2.
    """
    spoken = ~(_FROM_INITIATOR | _RESPONSE) & 0xFF
    version_1 = [
        Field(
            _AT_VERSION,
            bytes((_VERSION_1, exchange, 0)),
            bytes((0xFF, mask, ~_FLAGS_1 & 0xFF)),
        )
        for exchange, mask in ((0, 0xF8), (32, 0xFE))
    ]
    version_2 = [
        Field(
            _AT_FIRST,
            bytes((first, _VERSION_2, 32, 0)),
            bytes((0xFF, 0xFF, 0xF0, spoken)),
        )
        for first in (_SEALED, _SEALED_FRAGMENT)
    ]
    answered = Field(_AT_RESPONDER, _NO_SPI, differs=True)
    return tuple(_shape(offset, answered, f) for f in (*version_1, *version_2))


def _shape(offset: int, *fields: Field) -> Shape:
    named = Field(0, _NO_SPI, differs=True)
    return Shape(
        tuple(
            Field(offset + f.offset, f.value, f.mask, f.differs)
            for f in (named, *fields)
        ),
        lengths=((offset + HEADER.size, UDP_MAX_PAYLOAD),),
    )
