# SPDX-License-Identifier: GPL-2.0-or-later
"""IKE by scapy's classes, both versions: the second reader.

Specification: RFC 2408, 2409 (version 1), RFC 7296 (version 2). Knows the header and
the header of each payload; of their contents no more than the domain of interpretation
of version 1 and the number of a fragment. A first IP fragment, or a cut capture, is
read as far as it goes, and has to go as far as what the message cannot do without.
"""

# scapy is untyped: a class of it is Any to mypy.
# mypy: disable-error-code="misc"

from collections.abc import Mapping
from dataclasses import dataclass

from scapy.fields import ByteField, ShortField
from scapy.layers.isakmp import ISAKMP_payload, ISAKMP_payload_SA
from scapy.packet import Packet, Raw

from vpngate.recognition import Message, Role
from vpngate.tunnels.messages.layers import Fields, Layer, holds, laid_over, size_of
from vpngate.tunnels.messages.left_out import without_certificates

with without_certificates(Raw):
    from scapy.contrib.ikev2 import (
        IKEv2,
        IKEv2_Encrypted,
        IKEv2_Encrypted_Fragment,
        IKEv2_Payload,
    )

_UNKNOWN = b"\0" * 8  # an SPI, or a cookie, that is not known yet
_MOST_PAYLOADS = 32  # our own limit
_HEADER_SIZE = size_of(IKEv2)


class SecurityAssociation(ISAKMP_payload):
    """The SA payload of version 1 as far as its domain of interpretation."""

    name = "ISAKMP SA"
    fields_desc = ISAKMP_payload_SA.fields_desc[:4]


class Fragment(Packet):
    """A fragment of version 1 as vendors send it, as far as its numbers."""

    name = "ISAKMP fragment"
    fields_desc = [  # noqa: RUF012 - what scapy's metaclass builds a class from
        *ISAKMP_payload.fields_desc[:3],
        ShortField("message", 1),
        ByteField("number", 1),
        ByteField("last", 0),
    ]


_NUMBERS_SIZE = 4  # bytes of a fragment between its header and what it carries


@dataclass(frozen=True, slots=True)
class _Format:
    """How the payloads of a version are dissected.

    payload   the class of any payload, and of some types
    clear     the field that holds reserved bits, and its values with all of them clear
    sealing   types that hold all the others, encrypted, and stand last
    padding   how many zeros may stand behind the last one, inside the message's length
    """

    payload: type[Packet]
    classes: Mapping[int, type[Packet]]
    clear: Fields
    sealing: frozenset[int] = frozenset()
    padding: range = range(1)


_FORMAT_1 = _Format(
    ISAKMP_payload, {1: SecurityAssociation}, {"res": 0}, padding=range(4)
)
_FORMAT_1_FRAGMENT = _Format(ISAKMP_payload, {}, {"res": 0})
_FORMAT_2 = _Format(
    IKEv2_Payload,
    {46: IKEv2_Encrypted, 53: IKEv2_Encrypted_Fragment},
    {"flags": (0, 0x80)},  # critical or not
    frozenset({46, 53}),
)


def read(message: bytes, length: int) -> tuple[list[Layer], Message | None]:
    """Header and payloads, and the message that they amount to.

    `message` starts with the header; `length` is that on the wire.
    """
    kind = IKEv2.dispatch_hook(message)  # by version
    found = laid_over(kind, message)
    if found is None:
        return [], None
    header, body = found
    amounts_to, names = (
        (_version_2, ("init_SPI", "resp_SPI"))
        if kind is IKEv2
        else (_version_1, ("init_cookie", "resp_cookie"))
    )
    spis = (header.fields[names[0]], header.fields[names[1]])
    layers = [header]
    if not holds(header, {"length": length}) or spis[0] == _UNKNOWN:
        return layers, None
    return layers, amounts_to(layers, spis, body)


def opens_version_2(header: Layer) -> bool:
    """Whether a header is that of an IKE_SA_INIT request."""
    return holds(
        header, {"version": 0x20, "exch_type": 34, "resp_SPI": _UNKNOWN, "flags": 0x08}
    )


def _version_1(
    layers: list[Layer], spis: tuple[bytes, bytes], body: bytes
) -> Message | None:
    """A message of version 1; the payloads found in `body` are added to `layers`.

    What is not of main or aggressive mode is encrypted, and so in whole blocks: in
    clear it would be a refusal.
    """
    header = layers[0]
    encrypted = bool(int(header.fields["flags"]) & 1)
    fields: Fields = {
        "version": 0x10,
        "flags": range(8),
        "exch_type": (2, 4, 5, 6, 32, 33) if encrypted else (2, 4),
    }
    if not holds(header, fields):
        return None
    if encrypted and not holds(header, {"next_payload": 132}):
        size = header.fields["length"] - _HEADER_SIZE
        whole_blocks = size > 0 and not size % 8
        return _exchange_1(spis) if whole_blocks else None
    fragmented = holds(header, {"next_payload": 132})
    types = _payloads(layers, body, _FORMAT_1_FRAGMENT if fragmented else _FORMAT_1)
    # Notification, delete and vendor id alone negotiate nothing.
    if types is None or not set(types) - {11, 12, 13}:
        return None
    if types[0] != 1:
        begins = _first_fragment(header, spis, body) if types == [132] else None
        return begins or _exchange_1(spis)
    if not holds(header, {"flags": 0, "id": 0}) or not holds(layers[1], {"doi": 1}):
        return None
    mode = "main" if holds(header, {"exch_type": 2}) else "aggressive"
    return _opening(f"IKEv1 {mode} mode", header, spis)


def _first_fragment(
    header: Layer, spis: tuple[bytes, bytes], body: bytes
) -> Message | None:
    """The answer to an opening that a fragment begins with."""
    found = laid_over(Fragment, body)
    if found is None or not holds(found[0], {"number": 1, "last": (0, 1)}):
        return None
    fragment, part = found
    inside = laid_over(IKEv2.dispatch_hook(part), part)
    carried = fragment.fields["length"] - 4 - _NUMBERS_SIZE
    if inside is None or not holds(inside[0], {"next_payload": 1, "version": 0x10}):
        return None
    whole, rest = inside
    names = ("init_cookie", "resp_cookie", "exch_type", "flags", "id")
    if any(whole.fields[name] != header.fields[name] for name in names):
        return None
    size, last = whole.fields["length"], fragment.fields["last"]
    if size != carried if last else not carried < size <= 0xFFFF - 8:
        return None
    answer = _version_1([whole], spis, rest)
    return answer if answer is not None and answer.role is Role.RESPONSE else None


def _version_2(
    layers: list[Layer], spis: tuple[bytes, bytes], body: bytes
) -> Message | None:
    """A message of version 2; the payloads found in `body` are added to `layers`."""
    header = layers[0]
    types = _payloads(layers, body, _FORMAT_2)
    if types is None or not holds(header, {"version": 0x20}):
        return None
    responder_known = spis[1] != _UNKNOWN
    exchange, flags = header.fields["exch_type"], int(header.fields["flags"])
    if exchange in (34, 38):
        # Security association in IKE_SA_INIT, nonce in IKE_SESSION_RESUME: a request
        # for a cookie, and every refusal, comes without.
        name, needed = {34: ("IKE_SA_INIT", 33), 38: ("IKE_SESSION_RESUME", 40)}[
            exchange
        ]
        wanted: Fields = {"flags": 0x20 if responder_known else 0x08, "id": 0}
        complete = needed in types and holds(header, wanted)
        return _opening(name, header, spis) if complete else None
    sealed = bool(types) and types[0] in _FORMAT_2.sealing and responder_known
    if exchange not in (35, 36, 37, 43, 44) or flags not in (0, 8, 0x20, 0x28):
        return None
    if not sealed:
        return None
    # Whose exchange it is: of who asks, or of whom the responder answers.
    from_initiator, answers = flags in (8, 0x28), flags in (0x20, 0x28)
    asked_by_initiator = from_initiator != answers
    named = bytes([exchange]) + header.fields["id"].to_bytes(4)
    token = spis[0] + spis[1] + named + bytes([asked_by_initiator])
    return Message(Role.EXCHANGE, "IKEv2 exchange", token, answers=answers)


def _opening(name: str, header: Layer, spis: tuple[bytes, bytes]) -> Message:
    """A request, which cannot name the responder yet, or its response."""
    token = spis[0] + bytes([header.fields["exch_type"]])
    if spis[1] == _UNKNOWN:
        return Message(Role.INITIATION, f"{name} request", token)
    return Message(Role.RESPONSE, f"{name} response", token)


def _exchange_1(spis: tuple[bytes, bytes]) -> Message | None:
    if spis[1] == _UNKNOWN:
        return None
    return Message(Role.EXCHANGE, "IKEv1 exchange", b"".join(spis))


def _payloads(layers: list[Layer], body: bytes, form: _Format) -> list[int] | None:
    """The types of the payloads behind the header, each layer added to `layers`.

    None if they do not end where the message does, or break a rule. Where a part of
    the message is not here, they may go on there.
    """
    header = layers[0]
    left = header.fields["length"] - _HEADER_SIZE
    cut = len(body) < left
    types: list[int] = []
    following = header.fields["next_payload"]
    while following:
        found = laid_over(form.classes.get(following, form.payload), body)
        if found is None:
            return types if cut else None
        layer, _ = found
        size = layer.fields["length"]
        header_size = 4
        if not header_size <= size <= left or len(types) == _MOST_PAYLOADS:
            return None
        if not holds(layer, form.clear):
            return None
        layers.append(layer)
        types.append(following)
        body, left = body[size:], left - size
        if following in form.sealing:
            return types if left == 0 and _is_numbered(layer) else None
        following = layer.fields["next_payload"]
    return types if left in form.padding and not any(body[:left]) else None


def _is_numbered(layer: Layer) -> bool:
    """Whether a fragment is one of those that it belongs to (RFC 7383 section 2.5)."""
    if layer.kind is not IKEv2_Encrypted_Fragment:
        return True
    number, total = layer.fields["frag_number"], layer.fields["frag_total"]
    return bool(1 <= number <= total)
