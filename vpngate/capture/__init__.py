# SPDX-License-Identifier: GPL-2.0-or-later
"""The only room that receives packets: live copies, mirrored ports, capture files.

Knows how a packet comes out of the kernel or out of a file, and which ones may show
a tunnel; does not know what they mean.
"""
