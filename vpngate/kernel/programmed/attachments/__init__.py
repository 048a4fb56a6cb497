# SPDX-License-Identifier: GPL-2.0-or-later
"""How programs come to stand at an interface: by links, or by filters of clsact.

Knows how the kernel is told either way, and which of them it has; does not know what
programs do, nor at which interfaces they should stand.
"""
