# SPDX-License-Identifier: GPL-2.0-or-later
"""Ports and first payload byte of UDP, asked for before the rest of a signature is.

Knows the few instructions that ask for them, as libpcap would not write them: the look
before has seen that it is UDP. Does not know what else a filter asks.
"""

from collections.abc import Sequence

from vpngate.capture.classic_bpf import (
    ACCEPT,
    JUMP_IF_EQUAL,
    REJECT,
    Instruction,
    Program,
)
from vpngate.capture.prefilter import masked, possible_first_bytes
from vpngate.packets import Family, Transport
from vpngate.signatures import Signature
from vpngate.signatures.headers import IPV6_HEADER, UDP_HEADER

# X = four times the low half of a byte; A = a byte or two, of the packet or X further.
_HEADER_LENGTH, _BYTE, _BYTE_FROM_X, _TWO_FROM_X = 0xB1, 0x30, 0x50, 0x48
_AND = 0x54
_INDEX_IS = 0x01  # X = a constant
_IPV6_NEXT_HEADER = 6  # where it stands (RFC 8200, section 3)
_BYTES = 1 << 8
_ALL_BITS = 0xFF
_PORTS_AT = (0, 2)  # of either end
_FARTHEST = 255  # instructions that a conditional jump may leave out


def beginning(
    family: Family, transport: Transport, signatures: Sequence[Signature]
) -> Program:
    """A gate that every packet with a match passes, for packets of the transport.

    They are given from their IP header on, of IPv4 with the transport's header. A
    packet without a payload is not looked at any further. Empty where there is nothing
    to be asked, or too much.
    """
    ports = {port for signature in signatures for port in signature.ports}
    possible = possible_first_bytes(s for s in signatures if not s.ports)
    if transport is not Transport.UDP or len(possible) == _BYTES:
        return []
    tests = _tests(ports, possible)
    if not tests:
        return []
    if family is Family.IPV4:
        return [(_HEADER_LENGTH, 0, 0, 0), *tests]
    # Behind an extension header it stands elsewhere: then the gate is open.
    is_next = (JUMP_IF_EQUAL, 0, len(tests), Transport.UDP)
    index = (_INDEX_IS, 0, 0, IPV6_HEADER)
    return [(_BYTE, 0, 0, _IPV6_NEXT_HEADER), is_next, index, *tests]


def _tests(ports: set[int], possible: set[int]) -> list[Instruction]:
    """Whether a port is one of these, or the first byte; X is where UDP begins.

    Nothing where jumps would not reach the end.
    """
    tests: list[Instruction] = []
    for at in _PORTS_AT * bool(ports):
        tests.append((_TWO_FROM_X, 0, 0, at))
        tests += ((JUMP_IF_EQUAL, 0, 0, port) for port in sorted(ports))
    for value, mask in masked(possible):
        tests.append((_BYTE_FROM_X, 0, 0, UDP_HEADER))
        if mask != _ALL_BITS:
            tests.append((_AND, 0, 0, mask))
        tests.append((JUMP_IF_EQUAL, 0, 0, value))
    passed = len(tests)  # what comes after the last is the end for those that fail
    if passed + len((REJECT, ACCEPT)) > _FARTHEST:
        return []
    return [
        (code, passed - at if code == JUMP_IF_EQUAL else 0, 0, operand)
        for at, (code, _, _, operand) in enumerate(tests)
    ] + [REJECT, ACCEPT]
