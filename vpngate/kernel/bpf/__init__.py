# SPDX-License-Identifier: GPL-2.0-or-later
"""eBPF without a compiler or a library: the system call, maps, instructions, programs.

Knows how programs are written, loaded, attached and tried; does not know who asks
for the data plane that they make up.
"""
