# SPDX-License-Identifier: GPL-2.0-or-later
"""A control socket without a daemon behind it, for the commands that ask there.

Knows how it is opened and closed; what the verbs answer is the tests' own.
"""

import asyncio
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

from vpngate.daemon.outside.control import ControlServer, VerbHandler


def serving(path: Path, handlers: Mapping[str, VerbHandler]) -> Iterator[Path]:
    """The socket, while a loop in another thread answers there with these verbs."""
    started, stop = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        server = ControlServer(path, handlers)
        await server.start()
        started.set()
        await stop.wait()
        await server.stop()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert started.wait(60)
    try:
        yield path
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()
