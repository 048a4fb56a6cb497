# SPDX-License-Identifier: GPL-2.0-or-later
"""How copies stand in a ring that programs write and the daemon reads.

Knows the layout of a record; does not know who is copied, nor how a ring is shared.
"""

# The interface, the signature's number, the hook, the lower half of the EtherType as
# the machine loads it (8: IPv4), the packet's length from its IP header on, and how
# much of it follows; 16 bytes.
RECORD = "=IHBBII"
RECORD_HEADER = 16
IPV4 = 8
# Most handshakes fit the short form.
SHORT_COPY, LONG_COPY = 240, 2032  # bytes of a packet
A_WITNESS = 0xFFFF  # in a signature's place: a word, without a byte of the packet
RING_SIZE = 1 << 24  # bytes
