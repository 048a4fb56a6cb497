# SPDX-License-Identifier: GPL-2.0-or-later
"""Opens the pages, and closes them with the daemon.

Knows who answers for which page; does not know what they say, nor HTTP.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any

from vpngate.daemon.in_force import InForce
from vpngate.daemon.outside import served_pages
from vpngate.daemon.wellbeing.health import Health
from vpngate.daemon.wellbeing.kernel_counters import KernelCounters
from vpngate.daemon.wellbeing.public_facts import PublicView
from vpngate.daemon.wellbeing.self_check import SelfCheck
from vpngate.metrics import Metrics


def open_pages(  # noqa: PLR0913, PLR0917 - all that the pages ask
    stack: AsyncExitStack,
    in_force: InForce,
    public: PublicView,
    check: SelfCheck,
    health: Health,
    counters: KernelCounters,
    metrics: Metrics,
    status: Callable[[], Coroutine[Any, Any, dict[str, Any]]],
) -> None:
    """Serve them until the stack is left; MachineFault if their place is taken.

    To be called in the daemon's loop, in which `status` and the like are then asked.
    """
    for http in served_pages.servers(
        lambda: in_force.snapshot.config.http,
        state=status,
        report=public.report,
        check=check,
        refresh=counters.refresh,
        reasons=health.reasons,
        notes=health.notes,
        exposition=metrics.exposition,
    ):
        http.start()
        stack.push_async_callback(asyncio.to_thread, http.stop)
