# SPDX-License-Identifier: GPL-2.0-or-later
"""The live path on other kernels than the machine's: `make kernels`.

Knows how to boot a kernel under QEMU with this machine's files, and what to run
there; does not know what the tests test.
"""
