# SPDX-License-Identifier: GPL-2.0-or-later
"""Frames that may be taken for something else: by family, by transport, by ports.

Knows how to write a packet and how to make it odd; the same seed gives the same frames.
Knows, too, as what a careless reader might take one, to give it a verdict as that.
"""

from collections.abc import Callable, Iterator
from random import Random
from struct import pack
from typing import NamedTuple

from tests.unit.signatures.traffic import frames
from vpngate.packets import Family, Transport
from vpngate.signatures import Signature

ETHERNET, TAG = 14, 4  # bytes
_MACS = bytes.fromhex("020000000002020000000001")
_IPV4, _IPV6, _VLAN = b"\x08\x00", b"\x86\xdd", b"\x81\x00"
_ETHERTYPES = (_IPV4, _IPV6, _VLAN, b"\x88\xa8", b"\x88\x64", b"\x08\x06")
_ADDRESSES_AT = {Family.IPV4: 12, Family.IPV6: 8}
_IP_IN_IP, _IP6_IN_IP, _UDP_LITE, _SCTP = 4, 41, 136, 132
_PROTOCOLS = (*Transport, 1, 58, _IP_IN_IP, _IP6_IN_IP, _UDP_LITE, _SCTP)
_EXTENSIONS = (0, 43, 44, 51, 60, 135)
_AUTHENTICATION, _FRAGMENT = 51, 44
_PORTS = (0, 0, 53, 443, 500, 1701, 1723, 4500, 51820)


class Reading(NamedTuple):
    """What a packet's flow might be taken for, whatever its headers say."""

    family: Family
    addresses: bytes
    ports: bytes  # four


def odd_frames(signatures: tuple[Signature, ...], count: int, seed: int) -> list[bytes]:
    """Half of them around a signature, half of no tunnel; nearly all of them odd."""
    random = Random(seed)
    return [_odd(random, signatures) for _ in range(count)]


def readings(frame: bytes) -> Iterator[Reading]:
    """The flows that it might be taken for: either family, ports at several places."""
    ip = frame[ETHERNET:]
    while frame[12:14] == _VLAN and ip[2:TAG] in (_IPV4, _IPV6, _VLAN):
        frame, ip = frame[TAG:], ip[TAG:]
    if not ip:
        return
    for family, at in _ADDRESSES_AT.items():
        addresses = ip[at : at + 2 * family.width]
        if len(addresses) < 2 * family.width:
            continue
        for start in sorted({20, 40, 48, 56, (ip[0] & 15) * 4}):
            ports = ip[start : start + 4]
            if len(ports) == 4:
                yield Reading(family, addresses, ports)


def numbered(number: int, frame: bytes) -> bytes:
    """The frame with its number where no rule looks, if it has that place.

    In IPv4's identification, or the last two bytes of IPv6's flow label: of the family
    that is told behind its VLAN tags, if any.
    """
    at = 12
    while frame[at : at + 2] == _VLAN:
        at += TAG
    place = {_IPV4: 4, _IPV6: 2}.get(frame[at : at + 2])
    if place is None or len(frame) < at + 2 + place + 2:
        return frame
    place += at + 2
    return frame[:place] + number.to_bytes(2) + frame[place + 2 :]


def _odd(random: Random, signatures: tuple[Signature, ...]) -> bytes:
    if random.random() < 0.5:
        around = random.choice(signatures)
        (frame,) = frames(around, 1, random.getrandbits(32))
    else:
        frame = _framed(*_packet(random))
    return random.choice(_ODD)(random, frame)


def _packet(random: Random) -> tuple[bytes, bytes]:
    """Its EtherType, and a packet of no tunnel."""
    protocol = random.choice(_PROTOCOLS)
    if random.random() < 0.5:
        return _IPV4, _ipv4(random, protocol, _segment(random, protocol))
    return _IPV6, _ipv6(random, protocol, _segment(random, protocol))


def _segment(random: Random, protocol: int) -> bytes:
    """A transport header and its payload."""
    payload = random.randbytes(random.choice((0, 1, 7, 32, 92, 148)))
    ports = pack(">HH", random.choice(_PORTS), random.choice(_PORTS))
    match protocol:
        case Transport.UDP | 136:
            return ports + pack(">HH", 8 + len(payload), 0) + payload
        case Transport.TCP:
            options = random.randbytes(4 * random.randrange(11))
            words = 5 + len(options) // 4
            head = pack(">IIBBHHH", 1, 1, words << 4, 0x18, 512, 0, 0)
            return ports + head + options + payload
        case Transport.GRE:
            flags = random.choice((0, 0x2001, 0x3001, 0x3081))
            return pack(">HH", flags, random.choice((0x0800, 0x880B))) + payload
        case 1 | 58:  # an error that quotes what it is about
            _, quoted = _packet(random)
            kind = 3 if protocol == 1 else random.choice((1, 2))
            return bytes([kind, 0]) + bytes(6) + quoted[: random.choice((28, 48, 500))]
        case 4 | 41:
            inner = random.choice(tuple(Transport))
            write = _ipv4 if protocol == _IP_IN_IP else _ipv6
            return write(random, inner, _segment(random, inner))
    return ports + payload


def _ipv4(random: Random, protocol: int, body: bytes) -> bytes:
    options = random.randbytes(4 * random.choice((0, 0, 0, 1, 5, 10)))
    fragment = random.choice((0, 0, 0x4000, 0x2000, 0x2001, 1, 100, 0x2064, 0x1FFF))
    if fragment & 0x1FFF and random.random() < 0.5:
        # A later one, whose bytes would be the ports of a tunnel.
        body = pack(">HH", random.choice(_PORTS), random.choice(_PORTS)) + body
    head = pack(
        *(">BBHHHBBH", 0x45 + len(options) // 4, 0, 20 + len(options) + len(body)),
        *(0, fragment, 64, protocol, 0),
    )
    ends = bytes((100, 64, 0, random.randrange(4), 198, 18, 0, random.randrange(4)))
    return head + ends + options + body


def _ipv6(random: Random, protocol: int, body: bytes) -> bytes:
    following = protocol
    for _ in range(random.choice((0, 0, 0, 1, 2, 3))):
        kind = random.choice(_EXTENSIONS)
        words = random.choice((0, 0, 1, 2))
        rest = random.randbytes(6 + 8 * words)
        if kind == _FRAGMENT:
            offset = random.choice((0, 0, 1, 8, 0x190)).to_bytes(2)
            words, rest = 0, offset + random.randbytes(4)
        elif kind == _AUTHENTICATION:
            words, rest = 4, random.randbytes(22)
        body, following = bytes([following, words]) + rest + body, kind
    # The second byte of a source is where IPv4 has its protocol.
    source, destination = (
        bytes([0x20, random.choice((6, 17, 47, 50, 1))]) + bytes(13) + bytes([end])
        for end in (random.randrange(4), random.randrange(4))
    )
    head = pack(">IHBB", 6 << 28, len(body), following, 64)
    return head + source + destination + body


def _framed(ethertype: bytes, packet: bytes) -> bytes:
    return _MACS + ethertype + packet


def _as_it_is(_random: Random, frame: bytes) -> bytes:
    return frame


def _tagged(random: Random, frame: bytes) -> bytes:
    tags = (_VLAN + random.randbytes(2)) * random.choice((1, 1, 2))
    return frame[:12] + tags + frame[12:]


def _of_another_ethertype(random: Random, frame: bytes) -> bytes:
    return frame[:12] + random.choice(_ETHERTYPES) + frame[ETHERNET:]


def _of_the_other_version(_random: Random, frame: bytes) -> bytes:
    first = frame[ETHERNET : ETHERNET + 1]
    return frame[:ETHERNET] + bytes(one ^ 0x20 for one in first) + frame[ETHERNET + 1 :]


def _cut(random: Random, frame: bytes) -> bytes:
    return frame[: random.randrange(ETHERNET, len(frame) + 1)]


def _cut_near_its_headers(random: Random, frame: bytes) -> bytes:
    return frame[: random.randrange(ETHERNET, ETHERNET + 72)]


def _longer(random: Random, frame: bytes) -> bytes:
    return frame + random.randbytes(random.choice((1, 3, 7)))


def _of_another_transport(random: Random, frame: bytes) -> bytes:
    """UDP as UDP-Lite, a tunnel's bytes as TCP, ...: where its family has it."""
    at = ETHERNET + (9 if frame[12:14] == _IPV4 else 6)
    return frame[:at] + bytes([random.choice(_PROTOCOLS)]) + frame[at + 1 :]


def _without_ports(_random: Random, frame: bytes) -> bytes:
    at = ETHERNET + (20 if frame[12:14] == _IPV4 else 40)
    return frame[:at] + bytes(len(frame[at : at + 4])) + frame[at + 4 :]


def _quoted(random: Random, frame: bytes) -> bytes:
    """An ICMP error that quotes it."""
    about = bytes((3, 1, 0, 0)) + bytes(4) + frame[ETHERNET:]
    return _framed(_IPV4, _ipv4(random, 1, about))


_ODD: tuple[Callable[[Random, bytes], bytes], ...] = (
    *(_as_it_is, _as_it_is, _as_it_is),
    *(_tagged, _of_another_ethertype, _of_the_other_version),
    *(_cut, _cut_near_its_headers, _longer),
    *(_of_another_transport, _without_ports, _quoted),
)
