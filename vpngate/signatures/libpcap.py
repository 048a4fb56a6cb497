# SPDX-License-Identifier: GPL-2.0-or-later
"""Signatures as one libpcap filter (pcap-filter(7)), for captures and mirrors.

Knows how libpcap's language loads bytes behind an IP header; does not know link
layers: `ip` and `ip6` stand for whatever the capture's link type makes of them, so
whoever opens it may write `(F) or (vlan and (F)) or (pppoes and (F))`.

Two things differ from the kernel's rules, both on the generous side; the predicate,
applied to what passes, takes them back:

- An IPv6 packet that begins with hop-by-hop, routing or destination options, or with
  a fragment header where a signature takes fragments, passes if the header after the
  first is one that could lead to a signature's transport: the language cannot walk a
  chain without loops.
- Whether an IP length fits the packet is checked only if `link_header` says how
  many bytes stand before it.

A load behind the end of the captured bytes makes libpcap refuse the packet there
and then, whatever stands behind an `or`. So alternatives stand in order of how far
they look: where one ran out of bytes, the later ones would as well.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from vpngate.packets import Family, Transport
from vpngate.signatures.declaration import Field, Shape, Signature
from vpngate.signatures.headers import (
    IPV4_FRAGMENT_AT,
    IPV4_FRAGMENT_OFFSET,
    IPV4_MORE_FRAGMENTS,
    IPV6_FRAGMENT,
    IPV6_FRAGMENT_HEADER,
    IPV6_FRAGMENT_OFFSET,
    IPV6_HEADER,
    IPV6_OPTIONS,
    TCP_DATA_OFFSET_AT,
    TCP_HEADERS,
    UDP_HEADER,
    UDP_LENGTH_AT,
)

_LOAD_SIZES = (4, 2, 1)

IPV4_HEADER_SIZE = "((ip[0] & 0xf) << 2)"
_IPV4_FRAGMENT = f"ip[{IPV4_FRAGMENT_AT}:2]"
_IPV4_IS_WHOLE = f"{_IPV4_FRAGMENT} & {IPV4_MORE_FRAGMENTS:#x} = 0"
_IPV4_IS_NO_LATER_FRAGMENT = f"{_IPV4_FRAGMENT} & {IPV4_FRAGMENT_OFFSET:#x} = 0"
_IPV4_IS_UNFRAGMENTED = (
    f"{_IPV4_FRAGMENT} & {IPV4_MORE_FRAGMENTS | IPV4_FRAGMENT_OFFSET:#x} = 0"
)

_IPV6_NEXT = "ip6[6]"  # the header behind the fixed one
_IPV6_AFTER_NEXT = f"ip6[{IPV6_HEADER}]"  # the one behind that, if it is an extension
_IPV6_BEGINS_A_DATAGRAM = (
    f"{_IPV6_NEXT} = {IPV6_FRAGMENT} and "
    f"ip6[{IPV6_HEADER + 2}:2] & {IPV6_FRAGMENT_OFFSET:#x} = 0"
)


@dataclass(frozen=True, slots=True)
class Location:
    """Somewhere in a packet, for the language to load from.

    protocol  `ip`, `ip6`, `udp` or `tcp`: counted from the start of that header
    offset    so many bytes further on
    behind    and so many more as this term of the language says
    """

    protocol: str
    offset: int = 0
    behind: str = ""

    def load(self, at: int, size: int = 1) -> str:
        """The term for the value of 1, 2 or 4 bytes, `at` bytes further on."""
        place = f"{self.behind} + " * bool(self.behind) + f"{self.offset + at}"
        return f"{self.protocol}[{place}" + f":{size}" * (size > 1) + "]"

    def tcp_header_size(self) -> str:
        """The term for the size in bytes of the TCP header that begins here."""
        return f"(({self.load(TCP_DATA_OFFSET_AT)} & 0xf0) >> 2)"

    def payload(self, transport: Transport) -> "Location":
        """Behind the transport header that begins here."""
        match transport:
            case Transport.UDP:
                return replace(self, offset=self.offset + UDP_HEADER)
            case Transport.TCP:
                return replace(self, behind=self.tcp_header_size())
        return self


def ipv4_transport(transport: Transport) -> Location:
    """Where the transport header of an IPv4 packet begins."""
    if transport.has_ports:
        return Location(transport.label)
    return Location("ip", behind=IPV4_HEADER_SIZE)


IPV6_TRANSPORT = Location("ip6", IPV6_HEADER)  # directly behind the fixed header
_IPV6_FRAGMENT_TRANSPORT = Location("ip6", IPV6_HEADER + IPV6_FRAGMENT_HEADER)


def filter_for(
    signatures: Iterable[Signature],
    link_header: int | None = None,
    families: Iterable[Family] = tuple(Family),
) -> str:
    """The text of a filter that passes what matches any of the signatures.

    `link_header` is the number of bytes before the IP header, if it is known and
    constant: 14 for Ethernet, 0 for raw IP. `families` are those that may pass.
    """
    chosen = tuple(signatures)
    if not chosen:
        raise ValueError("a filter needs a signature")
    texts = {Family.IPV4: _ipv4, Family.IPV6: _ipv6}
    return " or ".join(f"({texts[each](chosen, link_header)})" for each in families)


def _ipv4(signatures: Sequence[Signature], link_header: int | None) -> str:
    # Said once where it goes for all, for each shape where it does not.
    some = any(signature.fragments for signature in signatures)
    fragment = _IPV4_IS_NO_LATER_FRAGMENT if some else _IPV4_IS_UNFRAGMENTED
    whole = _IPV4_IS_WHOLE if some else ""
    return _all(
        "ip and ip[0] & 0xf0 = 0x40 and ip[0] & 0xf >= 5",
        fragment,
        f"ip[2:2] >= {IPV4_HEADER_SIZE}",
        *_promises_no_more(link_header, "ip[2:2]"),
        _any(
            f"ip[9] = {transport:d} and "
            + _transport(ours, ipv4_transport(transport), whole)
            for transport, ours in _by_transport(signatures)
        ),
    )


def _ipv6(signatures: Sequence[Signature], link_header: int | None) -> str:
    whole = (
        f"{_IPV6_NEXT} = {transport:d} and {_transport(ours, IPV6_TRANSPORT)}"
        for transport, ours in _by_transport(signatures)
    )
    fragmented = [signature for signature in signatures if signature.fragments]
    return _all(
        "ip6 and ip6[0] & 0xf0 = 0x60",
        *_promises_no_more(link_header, "ip6[4:2]", IPV6_HEADER),
        _any(
            (
                *whole,
                *(_ipv6_fragment(fragmented) if fragmented else ()),
                _ipv6_chain(signatures, fragmented),
            )
        ),
    )


def _ipv6_fragment(signatures: Sequence[Signature]) -> Iterator[str]:
    """First fragments: exactly, or those with options behind the fragment header."""
    for transport, ours in _by_transport(signatures):
        matching = _transport(ours, _IPV6_FRAGMENT_TRANSPORT)
        behind = f"{_IPV6_AFTER_NEXT} = {transport:d} and {matching}"
        yield f"{_IPV6_BEGINS_A_DATAGRAM} and {behind}"
    behind = _one_of(_IPV6_AFTER_NEXT, (*IPV6_OPTIONS, IPV6_FRAGMENT))
    yield f"{_IPV6_BEGINS_A_DATAGRAM} and {behind}"


def _ipv6_chain(
    signatures: Sequence[Signature], fragmented: Sequence[Signature]
) -> str:
    """Packets that begin with options, which may lead to a transport."""
    transports = (transport for transport, _ in _by_transport(signatures))
    fragment = (IPV6_FRAGMENT,) if fragmented else ()
    behind = _one_of(_IPV6_AFTER_NEXT, (*IPV6_OPTIONS, *fragment, *transports))
    return f"{_one_of(_IPV6_NEXT, IPV6_OPTIONS)} and {behind}"


def _promises_no_more(
    link_header: int | None, length: str, before: int = 0
) -> Iterator[str]:
    """Yields the condition that the packet is as long as its IP header says."""
    if link_header is not None:
        yield f"len - {before + link_header} >= {length}"


def _by_transport(
    signatures: Sequence[Signature],
) -> Iterator[tuple[Transport, Sequence[Signature]]]:
    for transport in sorted({signature.transport for signature in signatures}):
        yield transport, [s for s in signatures if s.transport is transport]


def _transport(signatures: Sequence[Signature], at: Location, whole: str = "") -> str:
    """Returns what matches of one transport, whose header begins at `at`.

    `whole` is the condition that the packet is no fragment; empty if that is known.
    """
    payload = at.payload(signatures[0].transport)
    ports_of: dict[tuple[Shape, bool], list[Signature]] = {}
    for signature in signatures:
        for shape in signature.shapes:
            ports_of.setdefault((shape, signature.fragments), []).append(signature)
    shapes = _any(
        _all(
            *((whole,) if whole and not fragments else ()),
            *_ports(sharing, at),
            *_shape(shape, at, payload),
        )
        for (shape, fragments), sharing in sorted(
            ports_of.items(), key=lambda item: reach(item[0][0])
        )
    )
    if signatures[0].transport is Transport.TCP:
        return f"{at.tcp_header_size()} >= {min(TCP_HEADERS)} and {shapes}"
    return shapes


def reach(shape: Shape) -> int:
    """How far into a payload a shape looks, bytes."""
    return max((field.end for field in shape.fields), default=0)


def _ports(signatures: Sequence[Signature], at: Location) -> Iterator[str]:
    """One condition for the ports of all signatures that share a shape."""
    if all(signature.ports for signature in signatures):
        ranges = dict.fromkeys(r for s in signatures for r in s.port_ranges)
        yield _any(within(at.load(end, 2), *r) for r in ranges for end in (0, 2))


def _shape(shape: Shape, at: Location, payload: Location) -> Iterator[str]:
    if shape.lengths:
        yield _any(
            within(at.load(UDP_LENGTH_AT, 2), shortest, longest)
            for shortest, longest in shape.udp_lengths
        )
    for field in shape.fields:
        yield _field(field, payload)


def _field(field: Field, payload: Location) -> str:
    pieces = tuple(
        f"{payload.load(at, size)}{asked}" for at, size, asked in _pieces(field)
    )
    # The last first: if that differs the packet has all the bytes before it.
    return _any(reversed(pieces)) if field.differs else _all(*pieces)


@lru_cache(maxsize=1024)  # the same for each family, and behind a fragment header
def _pieces(field: Field) -> Sequence[tuple[int, int, str]]:
    """Where in a payload how many bytes are loaded, and what is asked of them.

    4, 2 and 1 bytes at once are what libpcap can load.
    """
    pieces: list[tuple[int, int, str]] = []
    mask = field.mask or b"\xff" * len(field.value)
    operator = "!=" if field.differs else "="
    at = 0
    while left := len(field.value) - at:
        size = next(size for size in _LOAD_SIZES if size <= left)
        value = int.from_bytes(field.value[at : at + size])
        bits = int.from_bytes(mask[at : at + size])
        if bits:
            masked = "" if bits == (1 << 8 * size) - 1 else f" & {bits:#x}"
            asked = f"{masked} {operator} {value:#x}"
            pieces.append((field.offset + at, size, asked))
        at += size
    return pieces


def within(term: str, low: int, high: int) -> str:
    """The condition that a term is from low to high."""
    if low == high:
        return f"{term} = {low}"
    return f"({term} >= {low} and {term} <= {high})" if low else f"{term} <= {high}"


def _one_of(value: str, choices: Iterable[int]) -> str:
    return _any(f"{value} = {choice:d}" for choice in choices)


def _all(*terms: str) -> str:
    return " and ".join(terms)


def _any(terms: Iterable[str]) -> str:
    """One of the terms, in brackets: `and` binds no tighter than `or` here."""
    choices = tuple(terms)
    if len(choices) == 1:
        return choices[0]
    return f"({' or '.join(f'({c})' if ' and ' in c else c for c in choices)})"
