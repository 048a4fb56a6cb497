# SPDX-License-Identifier: GPL-2.0-or-later
"""The pieces that rules of this table are made of.

Knows where the headers keep what identifies a flow, and which registers hold a key;
does not know sets or chains.
"""

from dataclasses import replace

from vpngate.expressions import (
    Base,
    Bitwise,
    ChainVerdict,
    Compare,
    Expression,
    Meta,
    MetaKey,
    Payload,
    Range,
    VerdictCode,
)
from vpngate.packets import Family, Transport
from vpngate.recognition import Carrier
from vpngate.signatures import headers
from vpngate.signatures.nft_conditions import compare_fields

ETHERTYPE = {Family.IPV4: b"\x08\x00", Family.IPV6: b"\x86\xdd"}

KEY = 8  # keys begin at the first narrow register
VALUE = 20  # a map's value goes behind the widest key: IPv6 with ports, 8 to 16

ACCEPT = ChainVerdict(VerdictCode.ACCEPT)
RETURN = ChainVerdict(VerdictCode.RETURN)

# Where the two addresses begin, side by side (RFC 791, section 3.1; RFC 8200, 3).
_ADDRESSES_AT = {Family.IPV4: 12, Family.IPV6: 8}
_PORTS = Payload(Base.TRANSPORT, 0, 4)


def of_family(family: Family) -> tuple[Expression, ...]:
    """The packet is of that family."""
    return Meta(MetaKey.PROTOCOL), Compare(ETHERTYPE[family])


def of_carrier(carrier: Carrier) -> tuple[Expression, ...]:
    """The packet is of that transport, and has what its tunnels say of it."""
    number = bytes([carrier.transport])
    if not carrier.fields:
        return Meta(MetaKey.L4PROTO), Compare(number)
    # A range of one: behind a plain comparison with GRE, nft (1.0.6 of Debian 12)
    # cannot print what looks into its header, and gives up on the whole table.
    of_transport = (Meta(MetaKey.L4PROTO), Range(number, number))
    return *of_transport, *compare_fields(carrier.fields, 0)


def source(family: Family) -> Payload:
    """Load the source address."""
    return Payload(Base.NETWORK, _ADDRESSES_AT[family], family.width, KEY)


def destination(family: Family) -> Payload:
    """Load the destination address."""
    at = _ADDRESSES_AT[family] + family.width
    return Payload(Base.NETWORK, at, family.width, KEY)


def address_pair(family: Family) -> Payload:
    """Load source and destination in one go: they are neighbours in both headers."""
    return Payload(Base.NETWORK, _ADDRESSES_AT[family], 2 * family.width, KEY)


def no_later_fragment(family: Family) -> tuple[Expression, ...]:
    """An IPv4 packet begins with a transport header.

    Linux 6.18 takes whatever a later fragment begins with for one, at ingress; of IPv6
    it does not. The register that it loads is free again behind it.
    """
    if family is Family.IPV6:
        return ()
    at, offset = headers.IPV4_FRAGMENT_AT, headers.IPV4_FRAGMENT_OFFSET.to_bytes(2)
    return (
        Payload(Base.NETWORK, at, 2, KEY),
        Bitwise(offset, bytes(2), KEY, KEY),
        Compare(bytes(2), register=KEY),
    )


def flow(family: Family, transport: Transport) -> tuple[Expression, ...]:
    """Load what identifies a flow; the rule ends for later fragments' missing ports."""
    pair: tuple[Payload, ...] = (address_pair(family),)
    if family is Family.IPV4:
        # Four bytes at a time: the kernel loads no more than that inline.
        end = destination(family)
        pair = source(family), replace(end, register=KEY + 1)
    if not transport.has_ports:
        return pair
    return *pair, replace(_PORTS, register=KEY + 2 * family.width // 4)


def jump(chain: str) -> ChainVerdict:
    """Walk that chain and come back."""
    return ChainVerdict(VerdictCode.JUMP, chain)


def goto(chain: str) -> ChainVerdict:
    """Walk that chain and do not come back to this one."""
    return ChainVerdict(VerdictCode.GOTO, chain)
