# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemon: everything wired together.

Knows who needs whom, and the order of start, reload and stop; does not know how
any of the rooms below does its work.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vpngate.config import Config


def run(read_config: "Callable[[str], Config]", path: str, socket: str) -> None:
    """Run the daemon until a signal ends it.

    `read_config` reads the configuration at `path`, now and at each reload; `socket`
    is where the control socket goes. Raises VpngateError for what keeps the daemon
    from starting, or ended it.
    """
    # The client of the control socket lives here too, and must start fast.
    import asyncio  # noqa: PLC0415

    from vpngate.daemon.gateway import Gateway  # noqa: PLC0415
    from vpngate.daemon.outside import logs, memory_image  # noqa: PLC0415

    memory_image.forbid()
    logs.take_uncaught()

    async def live() -> None:
        await Gateway(read_config, path, socket).run()

    try:
        asyncio.run(live())
    finally:
        logs.tell_uncaught()
