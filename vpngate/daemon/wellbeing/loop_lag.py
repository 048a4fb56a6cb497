# SPDX-License-Identifier: GPL-2.0-or-later
"""How late the event loop is.

Knows that whoever sleeps in it is woken as late as everything else is done; does not
know what holds it up. What is urgent has to be done within 100 ms.
"""

import asyncio
from collections.abc import Callable

from vpngate.daemon.threads import tick

LOOK_EVERY = 0.5  # seconds


async def measure_lag(note: Callable[[float], None]) -> None:
    """Tell again and again, for ever, how many seconds late the loop was."""
    loop = asyncio.get_running_loop()
    while True:
        due = await tick(LOOK_EVERY)
        note(max(0.0, loop.time() - due))
