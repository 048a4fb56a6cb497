# SPDX-License-Identifier: GPL-2.0-or-later
"""What somebody types to ask about: one address, or a prefix.

Knows how people write either, and says in one line what is wrong with anything else;
does not know the answer.
"""

import re
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple

from vpngate.packets import Family, format_address
from vpngate.plaintext import plain

LONGEST = 64  # characters; an address and its prefix length have 49 at most
_MAPPED = IPv6Network("::ffff:0:0/96")  # RFC 4291, 2.5.5.2
_PORT = re.compile(r"\[[^\]]*\](:\d*)?|[\d.]+:\d+", re.ASCII)
_EXAMPLES = "an IPv4 or IPv6 address, or a prefix, like 203.0.113.7 or 2001:db8:a::/48"


class AddressRange(NamedTuple):
    """A range of addresses: the first one, and the length of its prefix in bits."""

    first: bytes
    length: int

    @property
    def is_address(self) -> bool:
        """Whether it is about one address."""
        return self.length == 8 * len(self.first)

    @property
    def family(self) -> Family:
        """The family of its addresses."""
        return Family.IPV4 if len(self.first) == Family.IPV4.width else Family.IPV6

    @property
    def is_private(self) -> bool:
        """Whether it means another machine in each network (RFC 1918, RFC 4193)."""
        network = ip_network((self.first, self.length))
        ours = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
        return any(
            network.version == each.version and network.subnet_of(each)  # type: ignore[arg-type]
            for each in map(ip_network, ours)
        )

    @property
    def prefix(self) -> str:
        """As prefixes are written."""
        return f"{format_address(self.first)}/{self.length}"

    def __str__(self) -> str:
        return format_address(self.first) if self.is_address else self.prefix


def about(address: bytes) -> AddressRange:
    """The question about one address; one that is IPv4 in disguise is that."""
    found = ip_address(address)
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        address = found.ipv4_mapped.packed
    return AddressRange(address, 8 * len(address))


def parse_question(text: str) -> AddressRange:
    """Returns what is asked about; ValueError says in a line what to type instead.

    Bits behind the prefix are left out: a prefix is meant.
    """
    text = text.strip()
    if not text:
        raise ValueError(f"Type {_EXAMPLES}.")
    if len(text) > LONGEST:
        raise ValueError(f"That is too long. Type {_EXAMPLES}.")
    if "%" in text:
        raise ValueError(
            "Leave out the % sign and what follows: that names an interface of one "
            "machine, and is no part of an address."
        )
    if _PORT.fullmatch(text):
        raise ValueError("Leave out brackets and port: the address alone is asked for.")
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        shown = plain(text)
        raise ValueError(f"“{shown}” is no address. Type {_EXAMPLES}.") from None
    return _of(network)


def _of(network: IPv4Network | IPv6Network) -> AddressRange:
    first, length = network.network_address.packed, network.prefixlen
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        return AddressRange(first[12:], length - _MAPPED.prefixlen)
    return AddressRange(first, length)
