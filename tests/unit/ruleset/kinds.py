# SPDX-License-Identifier: GPL-2.0-or-later
"""Packets of every kind that a hook sees, all of one flow.

Knows how each is written, and in plain words what of it a kernel can read; does not
know rules. One flow of a protocol: the same ends and ports whatever the kind.
"""

from collections.abc import Iterator
from random import Random
from struct import pack
from typing import NamedTuple

from tests import rulesets
from tests.unit.signatures.traffic import payload_of
from vpngate.packets import Family, HookPoint, Transport, parse_address

PORTS = (40000, 51820)
PLAIN_GRE = "plain GRE"
ICMP = {Family.IPV4: 1, Family.IPV6: 58}

_ENDS = {
    Family.IPV4: (parse_address("100.64.1.2"), parse_address("198.51.100.7")),
    Family.IPV6: (parse_address("2001:db8:64::2"), parse_address("2001:db8:b::7")),
}
_MACS = bytes(12)
_ETHERTYPE = {Family.IPV4: b"\x08\x00", Family.IPV6: b"\x86\xdd"}
_MORE, _DONT = 0x2000, 0x4000
# Extension headers of IPv6 (RFC 8200 section 4; RFC 4302; RFC 6275).
_HOP_BY_HOP, _ROUTING, _FRAGMENT, _AUTHENTICATION = 0, 43, 44, 51
_NO_NEXT, _OPTIONS, _MOBILITY = 59, 60, 135


class Kind(NamedTuple):
    """A packet, and what a kernel reads of it.

    transport  whether it finds the transport, and so all that the IP header says
    header     whether it gets at the transport header, too
    """

    name: str
    frame: bytes
    transport: bool = True
    header: bool = True


def ends_of(family: Family, protocol: int) -> tuple[bytes, bytes]:
    """The subscriber, and the remote end.

    A source of IPv6 has its protocol's number where IPv4 has the number itself.
    """
    near, far = _ENDS[family]
    if family is Family.IPV6:
        near, far = (end[:1] + bytes([protocol]) + end[2:] for end in (near, far))
    return near, far


def bodies(protocol: int) -> Iterator[tuple[str, bytes]]:
    """What is said of it, and a transport header with its payload."""
    match protocol:
        case Transport.UDP:
            for said, payload in (
                ("traffic", b"\xf0" * 32),
                ("handshake", _fitting("wireguard_initiation")),
                ("reply", _fitting("l2tp_reply")),
            ):
                yield said, pack(">4H", *PORTS, 8 + len(payload), 0) + payload
        case Transport.TCP:
            head = pack(">HHIIBBHHH", *PORTS, 1, 1, 5 << 4, 0x10, 512, 0, 0)
            yield "traffic", head + bytes(32)
            yield "handshake", head + _fitting("openvpn_tcp_initiation")
        case Transport.GRE:  # PPTP's, and RFC 2784's
            yield "traffic", _fitting("pptp_gre")
            yield PLAIN_GRE, pack(">HH", 0, 0x0800) + bytes(36)
        case Transport.ESP:
            # Where others have their ports, and PPTP what tells it from plain GRE.
            yield "traffic", pack(">HHI", *PORTS, 1) + bytes(32)
            yield "like GRE", pack(">HHI", 0x2001, 0x880B, 1) + bytes(32)
        case _:
            yield "traffic", bytes((8, 0)) + bytes(38)


def _fitting(name: str) -> bytes:
    """A payload that a signature fits."""
    signature = next(one for one in rulesets.RULESET.signatures if one.name == name)
    return payload_of(Random(name), signature.shapes[0])


def kinds(
    family: Family, protocol: int, body: bytes, point: HookPoint, *, turned: bool
) -> Iterator[Kind]:
    """A packet of each kind; `turned` ones go from the remote end to the subscriber."""
    write = _ipv4_kinds if family is Family.IPV4 else _ipv6_kinds
    ends = ends_of(family, protocol)
    ends = ends[::-1] if turned else ends
    for kind in write(protocol, body, b"".join(ends)):
        yield kind._replace(frame=_MACS + _ETHERTYPE[family] + kind.frame)
        if kind.name == "plain":
            frame = _ETHERTYPE[family] + kind.frame
            tag = b"\x81\x00\x00\x2a"
            # What comes in has lost its tag; what goes out still has it.
            seen = point is HookPoint.INGRESS
            yield Kind("VLAN", _MACS + tag + frame, seen, seen)
            yield Kind("VLAN in VLAN", _MACS + tag * 2 + frame, False, False)
            yield Kind("no IP", _MACS + b"\x88\x64" + kind.frame, False, False)
            wrong = _ETHERTYPE[Family(10 - family)]
            yield Kind("other EtherType", _MACS + wrong + kind.frame, False, False)


def _ipv4_kinds(protocol: int, body: bytes, ends: bytes) -> Iterator[Kind]:
    def packet(
        body: bytes = body,
        *,
        words: int = 5,
        fragment: int = 0,
        total: int | None = None,
        version: int = 4,
        options: bytes = b"",
    ) -> bytes:
        total = 20 + len(options) + len(body) if total is None else total
        head = pack(
            ">BBHHHBBH", version << 4 | words, 0, total, 7, fragment, 64, protocol, 0
        )
        return head + ends + options + body

    whole = 20 + len(body)
    yield Kind("plain", packet())
    yield Kind("padded", packet() + bytes(18))
    yield Kind("options", packet(words=7, options=bytes(8)))
    yield Kind("most options", packet(words=15, options=bytes(40)))
    yield Kind("not to be fragmented", packet(fragment=_DONT))
    yield Kind("first fragment", packet(fragment=_MORE))
    rest = bytes(40)  # the middle of a datagram
    yield Kind("second fragment", packet(rest, fragment=_MORE | 100), header=False)
    yield Kind("last fragment", packet(rest, fragment=0x1FFF), header=False)
    yield Kind("header alone", packet(b""), header=False)
    yield Kind("two bytes behind it", packet(body[:2]), header=False)
    yield Kind("longer than it is", packet(total=whole + 1), False, False)
    yield Kind("no length", packet(total=0), False, False)
    yield Kind("header too short", packet(words=4), False, False)
    yield Kind("cut in its header", packet()[:19], False, False)
    yield Kind("version 6", packet(version=6), False, False)
    yield Kind("nothing", b"", False, False)


def _ipv6_kinds(protocol: int, body: bytes, ends: bytes) -> Iterator[Kind]:
    def packet(
        *extensions: tuple[int, bytes],
        body: bytes = body,
        length: int | None = None,
        version: int = 6,
    ) -> bytes:
        following, behind = protocol, body
        for kind, rest in reversed(extensions):
            behind, following = bytes([following]) + rest + behind, kind
        length = len(behind) if length is None else length
        return pack(">IHBB", version << 28, length, following, 64) + ends + behind

    def fragment(offset: int, *, more: bool) -> tuple[int, bytes]:
        return _FRAGMENT, pack(">BHI", 0, offset << 3 | more, 7)

    option = bytes(7)
    yield Kind("plain", packet())
    yield Kind("padded", packet() + bytes(18))
    yield Kind("hop-by-hop options", packet((_HOP_BY_HOP, option)))
    yield Kind("routing header", packet((_ROUTING, option)))
    yield Kind("long options", packet((_OPTIONS, b"\1" + bytes(14))))
    yield Kind("two of them", packet((_HOP_BY_HOP, option), (_OPTIONS, option)))
    yield Kind("first fragment", packet(fragment(0, more=True)))
    yield Kind("fragment of its own", packet(fragment(0, more=False)))
    yield Kind("second fragment", packet(fragment(100, more=True)), header=False)
    yield Kind("last fragment", packet(fragment(1, more=False)), header=False)
    yield Kind("header alone", packet(body=b""), header=False)
    yield Kind("two bytes behind it", packet(body=body[:2]), header=False)
    sealed = (_AUTHENTICATION, b"\4" + bytes(22))
    yield Kind("authentication", packet(sealed), False, False)
    yield Kind("mobility", packet((_MOBILITY, option)), False, False)
    yield Kind("no next header", packet((_NO_NEXT, option)), False, False)
    yield Kind("longer than it is", packet(length=len(body) + 1), False, False)
    yield Kind("cut in its header", packet()[:39], False, False)
    yield Kind("version 4", packet(version=4), False, False)
    yield Kind("nothing", b"", False, False)
