# SPDX-License-Identifier: GPL-2.0-or-later
"""Which Linux this is, for what an old one does to a packet and none can be asked for.

Knows how a release begins; does not know what came with any. What can be tried is
tried instead: distributions take single changes into older kernels.
"""

import os
import re


def running() -> tuple[int, int] | None:
    """The first two numbers of the kernel's release; None if it does not say."""
    numbers = re.match(r"(\d+)\.(\d+)", os.uname().release)
    return None if numbers is None else (int(numbers[1]), int(numbers[2]))


def is_before(version: tuple[int, int]) -> bool:
    """Whether this kernel is older than that one; in doubt it is."""
    here = running()
    return here is None or here < version
