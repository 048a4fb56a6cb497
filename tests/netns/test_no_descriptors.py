# SPDX-License-Identifier: GPL-2.0-or-later
"""A daemon that has no descriptor left ends as any other does."""

import contextlib
import resource
import signal
import socket
from pathlib import Path

import pytest

from tests.lab.daemon import daemon, enforcing_settings
from tests.lab.topology import Lab

PAGES = "127.0.0.1", 9753


@pytest.mark.parametrize("callers", [0, 40])
def test_who_has_no_descriptor_left_ends_all_the_same(lab: Lab, callers: int) -> None:
    """It opens nothing to end, and leaves nothing behind."""
    settings = enforcing_settings(lab, f"short-{callers}")
    with (
        daemon(lab.gateway, settings) as running,
        contextlib.ExitStack() as calling,
    ):
        pid = running.process.pid
        most = max(int(one.name) for one in Path(f"/proc/{pid}/fd").iterdir()) + 1
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (most, most))

        def call() -> None:
            for _ in range(callers):
                one = calling.enter_context(socket.socket())
                one.connect(PAGES)

        lab.gateway.call(call)
        running.process.send(signal.SIGTERM)
        assert running.process.wait() == 0
        left = lab.gateway.run("ip", "-o", "link")
        assert "-vpngate" not in left
        assert "vpngate" not in lab.gateway.run("nft", "list", "tables")
