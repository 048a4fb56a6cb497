# SPDX-License-Identifier: GPL-2.0-or-later
"""What it means that the kernel does not take a part of an ifb.

Knows which module is missing then, and which refusal is none; does not know devices.
"""

import errno

from vpngate.errors import MissingFeature, Problem
from vpngate.kernel.wire.failures import Failure


def lacking(name: str, what: str, module: str) -> MissingFeature:
    """An interface is not as it should be, for want of a module."""
    remedy = f"vpngate needs the kernel module {module}"
    return MissingFeature(Problem(f"interface {name}", what, remedy))


def is_there_already(failure: Failure) -> bool:
    """An fq_codel keeps the number of its flows, and does not take another one."""
    return failure.what.startswith("flow queue") and failure.number == errno.EINVAL
