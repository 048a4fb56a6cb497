# SPDX-License-Identifier: GPL-2.0-or-later
"""What is asked at the control socket and changes nothing.

Knows what of the daemon is told, and to whom; does not know the socket. No question
there is about whether an address has a tunnel.
"""
