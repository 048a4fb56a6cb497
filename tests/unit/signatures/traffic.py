# SPDX-License-Identifier: GPL-2.0-or-later
"""Ethernet frames that match a signature, nearly match it, or do not at all.

Knows how to write every shape of a signature into a packet, and the ways in which
packets are odd: options, extension headers, fragments, wrong lengths, padding,
truncation, flipped bits. The same seed gives the same frames.
"""

from collections.abc import Iterator
from random import Random

from vpngate.packets import Transport
from vpngate.signatures import Shape, Signature

ETHERNET = 14
_MACS = bytes.fromhex("020000000002020000000001")
_IPV4, _IPV6 = b"\x08\x00", b"\x86\xdd"
_FRAGMENT_HEADER, _AUTHENTICATION = 44, 51
_FRAGMENT_UNIT = 8  # bytes
_MORE_FRAGMENTS = 0x2000
_TCP_WORDS = range(5, 16)  # sizes of a header, in four bytes


def frames(signature: Signature, count: int, seed: int) -> Iterator[bytes]:
    """`count` frames around a signature."""
    random = Random(f"{signature.name} {seed}")
    for _ in range(count):
        segment, first = _segment(random, signature), False
        if random.random() < 0.15:
            segment, first = _beginning(random, segment), True
        write = random.choice((_ipv4, _ipv6))
        frame = write(random, signature.transport, segment, first=first)
        yield _distort(random, frame)


def payload_of(random: Random, shape: Shape) -> bytes:
    """A payload of that shape, as far as its fields and lengths say."""
    reach = max((field.end for field in shape.fields), default=0)
    if shape.lengths:
        shortest, longest = random.choice(shape.lengths)
        size = random.choice((shortest, min(longest, shortest + 300)))
    else:
        size = reach + random.choice((0, 1, 40))
    payload = bytearray(random.randbytes(max(size, 0)))
    for field in shape.fields:
        if field.end > len(payload):
            continue
        at, end = field.offset, field.end
        mask = field.mask or b"\xff" * len(field.value)
        if not field.differs:
            payload[at:end] = bytes(
                byte & ~bits & 0xFF | value
                for byte, bits, value in zip(
                    payload[at:end], mask, field.value, strict=True
                )
            )
    return bytes(payload)


def _segment(random: Random, signature: Signature) -> bytes:
    """Transport header and payload."""
    payload = bytearray(payload_of(random, random.choice(signature.shapes)))
    if payload and random.random() < 0.35:
        payload[random.randrange(min(len(payload), 48))] ^= 1 << random.randrange(8)
    if not signature.transport.has_ports:
        return bytes(payload)
    ports = [random.randrange(65536), random.randrange(65536)]
    if signature.ports and random.random() < 0.9:
        nearby = random.choice((0, 0, 0, 1, -1))
        ports[random.randrange(2)] = random.choice(sorted(signature.ports)) + nearby
    header = b"".join(port.to_bytes(2) for port in ports)
    if signature.transport is Transport.UDP:
        stated = len(payload) + 8
        if random.random() < 0.15:
            stated = max(0, stated + random.choice((-1, 1, -8, 8)))
        return header + stated.to_bytes(2) + random.randbytes(2) + payload
    words = random.choice((5, 8, *_TCP_WORDS, *_TCP_WORDS, *range(5)))
    header += random.randbytes(8) + bytes([words << 4 | random.randrange(16)])
    header += random.randbytes(7) + random.randbytes(max(0, words - 5) * 4)
    return header + payload


def _beginning(random: Random, segment: bytes) -> bytes:
    """What a first fragment holds: as a rule some hundred bytes, now and then few."""
    units = len(segment) // _FRAGMENT_UNIT
    fewest = min(units, random.choice((0, 8, 8, 8)))
    return segment[: random.randint(fewest, units) * _FRAGMENT_UNIT]


def _ipv4(
    random: Random, transport: Transport, segment: bytes, *, first: bool
) -> bytes:
    words = 5 if random.random() < 0.8 else random.randrange(16)
    options = random.randbytes(max(0, words - 5) * 4)
    total = 20 + len(options) + len(segment)
    if random.random() < 0.1:
        total = random.choice((0, 19, total + 1, total - 1, total + 40))
    fragment = random.choice((0, 0, 0, 0, 0x4000, 0x4000, 0x8000, 0x2000, 1, 0x1FFF))
    if first:
        fragment = _MORE_FRAGMENTS
    header = bytes([0x40 | words, 0]) + max(total, 0).to_bytes(2) + random.randbytes(2)
    header += fragment.to_bytes(2) + bytes([64, transport, 0, 0]) + random.randbytes(8)
    return _MACS + _IPV4 + header + options + segment


def _ipv6(
    random: Random, transport: Transport, segment: bytes, *, first: bool
) -> bytes:
    following: int = transport
    if first:
        more = (1).to_bytes(2)
        header = bytes([following, 0]) + more + random.randbytes(4)
        segment, following = header + segment, _FRAGMENT_HEADER
    for _ in range(random.choice((0, 0, 0, 1, 1, 2))):
        kind = random.choice((0, 43, 60, 60, _FRAGMENT_HEADER, _AUTHENTICATION, 135))
        if kind == _FRAGMENT_HEADER:
            offset = random.choice((0, 0, 1, 8))
            header = bytes([following, 0]) + offset.to_bytes(2) + random.randbytes(4)
        else:
            words = random.choice((0, 0, 1, 2))
            header = bytes([following, words]) + random.randbytes(6 + 8 * words)
        segment, following = header + segment, kind
    length = len(segment)
    if random.random() < 0.1:
        length = max(0, random.choice((0, length + 1, length - 1, length + 40)))
    header = bytes([0x60, 0, 0, 0]) + length.to_bytes(2) + bytes([following, 64])
    return _MACS + _IPV6 + header + random.randbytes(32) + segment


def _distort(random: Random, frame: bytes) -> bytes:
    """Damage and padding, now and then."""
    chance = random.random()
    if chance < 0.1:
        return frame[: random.randrange(ETHERNET, len(frame) + 1)]
    if chance < 0.2:
        return frame + random.randbytes(random.choice((1, 6, 46)))
    if chance < 0.45:
        damaged = bytearray(frame)
        for _ in range(random.choice((1, 1, 2))):
            at = random.randrange(ETHERNET, min(len(frame), ETHERNET + 96))
            damaged[at] ^= 1 << random.randrange(8)
        return bytes(damaged)
    return frame
