# SPDX-License-Identifier: GPL-2.0-or-later
"""The headers before a payload, as numbers: what nft and libpcap both have to know.

Knows sizes, places and values of IPv4 (RFC 791), IPv6 with its extension headers
(RFC 8200), UDP (RFC 768) and TCP (RFC 9293); does not know how a compiler asks for
them. The predicate is written without this file on purpose: it is what the others
are compared with.
"""

IPV4_FRAGMENT_AT = 6  # two bytes: three flags, and the offset in units of 8 bytes
IPV4_MORE_FRAGMENTS = 0x2000
IPV4_FRAGMENT_OFFSET = 0x1FFF

IPV6_HEADER = 40
# What a packet's transport may stand behind (sections 4.3, 4.4 and 4.6): each begins
# with the next header's number.
IPV6_HOP_BY_HOP, IPV6_ROUTING, IPV6_DESTINATION_OPTIONS = 0, 43, 60
IPV6_OPTIONS = (IPV6_HOP_BY_HOP, IPV6_ROUTING, IPV6_DESTINATION_OPTIONS)
# Section 4.5: the offset and the M flag are two bytes, two bytes behind its start.
IPV6_FRAGMENT = 44
IPV6_FRAGMENT_HEADER = 8
IPV6_FRAGMENT_OFFSET = 0xFFF8

UDP_HEADER = 8
UDP_LENGTH_AT = 4  # two bytes, header and payload

# The header's size in words of four bytes is the upper half of the byte at 12. Most
# packets have no options, or timestamps alone (RFC 7323), padded; a handshake has 40,
# selective acknowledgments and MPTCP have up to 60.
TCP_DATA_OFFSET_AT = 12
TCP_USUAL_HEADERS = (20, 32)
TCP_HEADERS = (
    *TCP_USUAL_HEADERS,
    *(size for size in range(20, 61, 4) if size not in TCP_USUAL_HEADERS),
)
