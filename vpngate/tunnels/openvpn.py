# SPDX-License-Identifier: GPL-2.0-or-later
"""OpenVPN: how a session begins, on UDP and TCP, whatever the port.

Specification: "OpenVPN Wire Protocol" (openvpn-rfc), sections 2 to 4. Knows what
carries the control channel, on TCP with each packet's length in two bytes before it,
and what of it a packet filter can check; what its messages look like is in
`openvpn_control.py`.

What scapy's classes make of the same packets is in
`vpngate.tunnels.messages.openvpn`.
"""

import functools
import operator
from collections.abc import Iterator, Sequence
from dataclasses import replace

from vpngate.packets import FlowKey, Packet, Transport
from vpngate.recognition import Carrier, Message, Role, SecondReader, Tunnel
from vpngate.signatures import Field, Shape, Signature
from vpngate.tunnels.openvpn_control import FORMS, PACKET_ID_SIZE, Form, read

_TCP_PREFIX = 2
# Our own limit: five times a common `--ping-restart` without a packet ends a verdict.
_IDLE = 300  # seconds


def _read(packet: Packet) -> Message | None:
    message, size = packet.payload, packet.length
    if packet.transport is Transport.TCP:
        size = int.from_bytes(message[:_TCP_PREFIX])
        message = message[_TCP_PREFIX : _TCP_PREFIX + size]
    return read(message, size)


def _ranges(sizes: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Few ranges that hold all of some sizes; an acknowledgement is a step."""
    ranges: list[tuple[int, int]] = []
    for size in sizes:
        if ranges and size - ranges[-1][1] <= PACKET_ID_SIZE:
            ranges[-1] = (ranges[-1][0], size)
        else:
            ranges.append((size, size))
    return tuple(ranges)


def _shape(form: Form, transport: Transport) -> Shape:
    """What a packet filter can check of a form."""
    opcodes = functools.reduce(operator.and_, form.opcodes)
    differing = functools.reduce(operator.or_, form.opcodes) ^ opcodes
    opcode, mask = bytes([opcodes]), bytes([0xFF ^ differing])
    ranges = _ranges(form.sizes)
    if transport is Transport.UDP:
        return Shape((Field(0, opcode, mask), *form.fields), ranges)
    shortest, longest = ranges[0][0], ranges[-1][1]
    free = (1 << (shortest ^ longest).bit_length()) - 1  # bits that sizes differ in
    prefix = (shortest & ~free).to_bytes(_TCP_PREFIX)
    mask = (0xFFFF ^ free).to_bytes(_TCP_PREFIX) + mask
    shifted = (replace(f, offset=f.offset + _TCP_PREFIX) for f in form.fields)
    return Shape((Field(0, prefix + opcode, mask), *shifted))


def _signatures() -> Iterator[Signature]:
    for transport in (Transport.UDP, Transport.TCP):
        for role in (Role.INITIATION, Role.RESPONSE, Role.FOLLOW_UP):
            shapes = tuple(_shape(f, transport) for f in FORMS if f.role is role)
            name = f"openvpn_{transport.label}_{role.value.replace('-', '_')}"
            opens = role is Role.INITIATION
            yield Signature(name, transport, shapes, opens=opens)


def _covers(flow: FlowKey) -> tuple[FlowKey, ...]:
    return (flow,)


def _second() -> SecondReader:
    from vpngate.tunnels.messages import openvpn  # noqa: PLC0415 - scapy comes with it

    return openvpn.read


# No message is one-way: a plain reset is six constant bytes, most of them zero.
TUNNEL = Tunnel(
    name="openvpn",
    signatures=tuple(_signatures()),
    read=_read,
    covers=_covers,
    carriers=(Carrier(Transport.UDP), Carrier(Transport.TCP)),
    idle=_IDLE,
    second=_second,
)
