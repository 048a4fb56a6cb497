# SPDX-License-Identifier: GPL-2.0-or-later
"""What is read and written in memory that programs share with the daemon.

Knows that nobody is asked for it, so that it waits for nobody; does not know what else
the kernel is told.
"""
