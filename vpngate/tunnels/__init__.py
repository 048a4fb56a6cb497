# SPDX-License-Identifier: GPL-2.0-or-later
"""The tunnels vpngate recognises: one module each, found by looking in this folder.

Knows how to find them and which of them might read a packet; does not know any
protocol. To add one, write a module here that defines `TUNNEL`, and its test.
"""

from collections.abc import Iterable, Sequence
from functools import cache, lru_cache
from importlib import import_module
from pkgutil import iter_modules

from vpngate.packets import Packet, Transport
from vpngate.recognition import Carrier, Message, Tunnel
from vpngate.signatures import Shape

_BYTES = range(256)


@cache
def all_tunnels() -> tuple[Tunnel, ...]:
    """Every tunnel, sorted by name."""
    modules = (
        import_module(f"{__name__}.{found.name}")
        for found in iter_modules(__path__)
        if not found.ispkg  # the second readers, which load scapy
    )
    tunnels = (getattr(module, "TUNNEL", None) for module in modules)
    return tuple(
        sorted((t for t in tunnels if isinstance(t, Tunnel)), key=lambda t: t.name)
    )


@cache
def all_carriers() -> tuple[Carrier, ...]:
    """Returns the carriers of all tunnels, each transport once, those with ports first.

    ValueError if two tunnels have different fields on one transport: a verdict names
    the transport alone.
    """
    carriers = {carrier for tunnel in all_tunnels() for carrier in tunnel.carriers}
    if len({carrier.transport for carrier in carriers}) < len(carriers):
        raise ValueError("two tunnels say different things of one transport")
    return tuple(
        sorted(carriers, key=lambda c: (not c.transport.has_ports, -c.transport))
    )


class Recogniser:
    """Readers by transport and first payload byte, as their signatures allow."""

    def __init__(self, tunnels: Sequence[Tunnel]) -> None:
        self._readers = {
            transport: _readers(tunnels, transport)
            for transport in {s.transport for t in tunnels for s in t.signatures}
        }

    def recognise(self, packet: Packet) -> tuple[Tunnel, Message] | None:
        """The tunnel and the message that a packet belongs to, or None.

        A packet of no interest costs a table look-up and a comparison or two.
        """
        transport, source, destination, payload, _ = packet
        readers = self._readers.get(transport)
        if readers is None or not payload:
            return None
        for tunnel, ports in readers[payload[0]]:
            if ports and source.port not in ports and destination.port not in ports:
                continue
            message = tunnel.read(packet)
            if message is not None:
                return tunnel, message
        return None


def _readers(
    tunnels: Sequence[Tunnel], transport: Transport
) -> tuple[tuple[tuple[Tunnel, frozenset[int]], ...], ...]:
    """The tunnels that may start a payload with each byte, and on which ports."""
    allowed = [(tunnel, _ports_by_first_byte(tunnel, transport)) for tunnel in tunnels]
    return tuple(
        tuple((tunnel, ports[first]) for tunnel, ports in allowed if first in ports)
        for first in _BYTES
    )


@lru_cache(maxsize=64)  # a tunnel never changes, and every reload asks again
def _ports_by_first_byte(
    tunnel: Tunnel, transport: Transport
) -> dict[int, frozenset[int]]:
    """The ports on which a tunnel may start a payload with a byte; empty means any."""
    found: dict[int, list[frozenset[int]]] = {}
    for signature in tunnel.signatures:
        if signature.transport is transport:
            for first in frozenset().union(*map(_first_bytes, signature.shapes)):
                found.setdefault(first, []).append(signature.ports)
    return {
        first: frozenset().union(*ports) if all(ports) else frozenset()
        for first, ports in found.items()
    }


def _first_bytes(shape: Shape) -> frozenset[int]:
    """What a payload of this shape may start with."""
    return _bytes_that_meet(
        frozenset(
            ((field.mask or b"\xff")[0], field.value[0], field.differs)
            for field in shape.fields
            if field.offset == 0 and (len(field.value) == 1 or not field.differs)
        )
    )


@lru_cache(maxsize=256)  # a tunnel's many shapes start in the same few ways
def _bytes_that_meet(comparisons: frozenset[tuple[int, int, bool]]) -> frozenset[int]:
    """The bytes that are what each (mask, value, whether it differs) asks for."""
    meeting: Iterable[int] = _BYTES
    for mask, value, differs in comparisons:
        meeting = [byte for byte in meeting if (byte & mask == value) is not differs]
    return frozenset(meeting)
