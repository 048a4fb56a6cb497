# SPDX-License-Identifier: GPL-2.0-or-later
"""Signatures as one libpcap filter (pcap-filter(7)), for captures and mirrors.

Knows how libpcap's language loads bytes behind an IP header; does not know link
layers: `ip` and `ip6` stand for whatever the capture's link type makes of them, so
whoever opens it may write `(F) or (vlan and (F)) or (pppoes and (F))`.

Two things differ from the kernel's rules, both on the generous side; the predicate,
applied to what passes, takes them back:

- An IPv6 packet that begins with hop-by-hop, routing or destination options passes
  if the header after the first is one that could lead to a signature's transport:
  the language cannot walk a chain without loops.
- Whether an IP length fits the packet is checked only if `link_header` says how
  many bytes stand before it.

A load behind the end of the captured bytes makes libpcap refuse the packet there
and then, whatever stands behind an `or`. So alternatives stand in order of how far
they look: where one ran out of bytes, the later ones would as well.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

from vpngate.packets import Family, Transport
from vpngate.signatures.declaration import Field, Shape, Signature

# Writes a load of `size` bytes at an offset from the transport header.
_Load = Callable[[int, int], str]

_LOAD_SIZES = (4, 2, 1)
_UDP_HEADER = 8
_TCP_HEADERS = {20: 0x50, 32: 0x80}
_IPV6_HEADER = 40
_IPV6_PASSED_OVER = (0, 43, 60)  # RFC 8200: hop-by-hop, routing, destination options


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
    header = "((ip[0] & 0xf) << 2)"

    def load(transport: Transport) -> _Load:
        if transport in (Transport.UDP, Transport.TCP):
            return lambda at, size: f"{transport.label}[{at}:{size}]"
        return lambda at, size: f"ip[{header} + {at}:{size}]"

    fits = () if link_header is None else (f"len - {link_header} >= ip[2:2]",)
    return _all(
        "ip and ip[0] & 0xf0 = 0x40 and ip[0] & 0xf >= 5",
        "ip[6:2] & 0x3fff = 0",
        f"ip[2:2] >= {header}",
        *fits,
        _any(
            f"ip[9] = {transport:d} and {_transport(signatures, transport, load)}"
            for transport in _transports(signatures)
        ),
    )


def _ipv6(signatures: Sequence[Signature], link_header: int | None) -> str:
    def load(_: Transport) -> _Load:
        return lambda at, size: f"ip6[{_IPV6_HEADER + at}:{size}]"

    transports = _transports(signatures)
    direct = (
        f"ip6[6] = {transport:d} and {_transport(signatures, transport, load)}"
        for transport in transports
    )
    behind = _one_of("ip6[40]", (*_IPV6_PASSED_OVER, *transports))
    indirect = f"{_one_of('ip6[6]', _IPV6_PASSED_OVER)} and {behind}"
    before = _IPV6_HEADER + (link_header or 0)
    fits = () if link_header is None else (f"len - {before} >= ip6[4:2]",)
    return _all("ip6 and ip6[0] & 0xf0 = 0x60", *fits, _any((*direct, indirect)))


def _transports(signatures: Sequence[Signature]) -> tuple[Transport, ...]:
    return tuple(sorted({signature.transport for signature in signatures}))


def _transport(
    signatures: Sequence[Signature],
    transport: Transport,
    loads: Callable[[Transport], _Load],
) -> str:
    """What matches of one transport, behind a header that is known to be its."""
    load = loads(transport)
    ports_of: dict[Shape, list[Signature]] = {}
    for signature in signatures:
        if signature.transport is transport:
            for shape in signature.shapes:
                ports_of.setdefault(shape, []).append(signature)
    shapes = sorted(ports_of, key=_reach)

    def payload(start: int) -> str:
        return _any(
            _all(*_ports(ports_of[shape], load), *_shape(shape, load, start))
            for shape in shapes
        )

    match transport:
        case Transport.UDP:
            return payload(_UDP_HEADER)
        case Transport.TCP:
            return _any(
                f"{load(12, 1)} & 0xf0 = {words:#x} and {payload(size)}"
                for size, words in _TCP_HEADERS.items()
            )
    return payload(0)


def _reach(shape: Shape) -> int:
    return max((field.end for field in shape.fields), default=0)


def _ports(signatures: Sequence[Signature], load: _Load) -> Iterator[str]:
    """One condition for the ports of all signatures that share a shape."""
    if all(signature.ports for signature in signatures):
        ranges = dict.fromkeys(r for s in signatures for r in s.port_ranges)
        yield _any(_within(load(at, 2), *r) for r in ranges for at in (0, 2))


def _shape(shape: Shape, load: _Load, start: int) -> Iterator[str]:
    if shape.lengths:
        yield _any(
            _within(load(4, 2), shortest + _UDP_HEADER, longest + _UDP_HEADER)
            for shortest, longest in shape.lengths
        )
    for field in shape.fields:
        yield _field(field, load, start)


def _field(field: Field, load: _Load, start: int) -> str:
    pieces = tuple(_pieces(field, load, start))
    # The last first: if that differs the packet has all the bytes before it.
    return _any(reversed(pieces)) if field.differs else _all(*pieces)


def _pieces(field: Field, load: _Load, start: int) -> Iterator[str]:
    """Comparisons of 4, 2 and 1 bytes, the sizes that libpcap can load."""
    mask = field.mask or b"\xff" * len(field.value)
    operator = "!=" if field.differs else "="
    at = 0
    while left := len(field.value) - at:
        size = next(size for size in _LOAD_SIZES if size <= left)
        value = int.from_bytes(field.value[at : at + size])
        bits = int.from_bytes(mask[at : at + size])
        if bits:
            masked = "" if bits == (1 << 8 * size) - 1 else f" & {bits:#x}"
            loaded = load(start + field.offset + at, size)
            yield f"{loaded}{masked} {operator} {value:#x}"
        at += size


def _within(value: str, low: int, high: int) -> str:
    if low == high:
        return f"{value} = {low}"
    return f"({value} >= {low} and {value} <= {high})"


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
