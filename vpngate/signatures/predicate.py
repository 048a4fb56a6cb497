# SPDX-License-Identifier: GPL-2.0-or-later
"""A signature as a Python predicate: the plainest of its compilations.

Knows, step by step, what a kernel's netdev hook accepts as a transport header
(nft_set_pktinfo_ipv4_validate, nft_set_pktinfo_ipv6_validate, ipv6_find_hdr); does
not know link layers. Written to be compared with the others, and to tell apart
what a packet filter lets through too much.
"""

from vpngate.packets import Family, Transport
from vpngate.signatures.declaration import Shape, Signature

_IPV4_MIN = 20
_IPV4_MORE_FRAGMENTS = 0x2000
_IPV4_OFFSET = 0x1FFF
_IPV6_HEADER = 40
_ROUTING = 43
# Next header values of the options headers passed over, and the bytes of each that
# must be there to pass on (RFC 8200, sections 4.3, 4.4, 4.6).
_PASSED_OVER = {0: 2, _ROUTING: 4, 60: 2}
_FRAGMENT, _FRAGMENT_HEADER = 44, 8
_FRAGMENT_NEEDED = 4  # bytes of it, up to the offset (section 4.5)
_IPV6_OFFSET = 0xFFF8

_WORD = 2  # bytes of a port, and of UDP's length
_UDP_HEADER = 8
_TCP_DATA_OFFSET = 12
_TCP_MIN = 20


def matches(signature: Signature, packet: bytes, length: int | None = None) -> bool:
    """Whether a packet, from its IP header on, matches a signature.

    `packet` is what there is of it, link-layer padding included; `length` is what
    there was on the wire, if a capture kept less.
    """
    wire = len(packet) if length is None else length
    start = _transport_header(signature, packet, wire)
    if start is None or not _port_fits(signature, packet, start):
        return False
    payload = _payload(packet, start, signature.transport)
    return payload is not None and any(
        _fits(shape, packet, start, payload) for shape in signature.shapes
    )


def _transport_header(signature: Signature, packet: bytes, wire: int) -> int | None:
    """Where the header begins in a packet of the signature's transport.

    The packet is whole, or the first fragment of one if the signature takes those.
    """
    if not packet:
        return None
    match packet[0] >> 4:
        case Family.IPV4:
            return _behind_ipv4(signature, packet, wire)
        case Family.IPV6:
            return _behind_ipv6(signature, packet, wire)
    return None


def _behind_ipv4(signature: Signature, packet: bytes, wire: int) -> int | None:
    if len(packet) < _IPV4_MIN:
        return None
    header, total = (packet[0] & 0x0F) * 4, int.from_bytes(packet[2:4])
    valid = _IPV4_MIN <= header <= total <= wire
    fragment = int.from_bytes(packet[6:8])
    if fragment & _IPV4_OFFSET:
        return None
    if fragment & _IPV4_MORE_FRAGMENTS and not signature.fragments:
        return None
    return header if valid and packet[9] == signature.transport else None


def _behind_ipv6(signature: Signature, packet: bytes, wire: int) -> int | None:
    if len(packet) < _IPV6_HEADER:
        return None
    if _IPV6_HEADER + int.from_bytes(packet[4:6]) > wire:
        return None
    start, header = _IPV6_HEADER, packet[6]
    while header != signature.transport:
        if header == _FRAGMENT and signature.fragments:
            offset = packet[start + 2 : start + _FRAGMENT_NEEDED]
            if len(offset) < _WORD or int.from_bytes(offset) & _IPV6_OFFSET:
                return None
            header, start = packet[start], start + _FRAGMENT_HEADER
            continue
        needed = _PASSED_OVER.get(header)
        if needed is None or len(packet) < start + needed:
            return None
        header, start = packet[start], start + 8 * (packet[start + 1] + 1)
    return start


def _port_fits(signature: Signature, packet: bytes, start: int) -> bool:
    if not signature.ports:
        return True
    return any(
        len(port) == _WORD and int.from_bytes(port) in signature.ports
        for port in (packet[start : start + 2], packet[start + 2 : start + 4])
    )


def _payload(packet: bytes, start: int, transport: Transport) -> int | None:
    """Where the payload begins, or None for a TCP header that cannot be."""
    match transport:
        case Transport.UDP:
            return start + _UDP_HEADER
        case Transport.TCP:
            at = start + _TCP_DATA_OFFSET
            size = (packet[at] >> 4) * 4 if at < len(packet) else 0
            return None if size < _TCP_MIN else start + size
    return start


def _fits(shape: Shape, packet: bytes, start: int, payload: int) -> bool:
    if shape.lengths:
        stated = packet[start + 4 : start + 6]
        length = int.from_bytes(stated) - _UDP_HEADER
        if len(stated) < _WORD or not any(a <= length <= b for a, b in shape.lengths):
            return False
    return all(field.holds(packet, payload) for field in shape.fields)
