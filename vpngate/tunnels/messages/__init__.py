# SPDX-License-Identifier: GPL-2.0-or-later
"""Messages that scapy has no classes for, declared as its own are.

Knows how messages are laid out; does not know which of them are to be believed. For
people and for tests: to print a packet, to build one, and to check what
`vpngate.tunnels` reads against an independent description. Recognition does not
import them. scapy takes 50 µs a message and half a second to load, and describes
without verifying; a flood of initiations and a verdict ask for the opposite.
"""
