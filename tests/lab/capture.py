# SPDX-License-Identifier: GPL-2.0-or-later
"""Captures of what crosses the gateway.

Knows tcpdump; does not know what is in the packets.
"""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from tests.lab.namespaces import Namespace

_CATCH_UP = 0.2  # seconds for tcpdump to write what it has received


@contextlib.contextmanager
def capturing(
    gateway: Namespace, path: Path, interface: str = "lan0", snaplen: int = 2048
) -> Iterator[Path]:
    """A pcap file at `path` of all packets on `interface`, complete after the block."""
    with gateway.running(
        *("tcpdump", "-i", interface, "-U", "-n", "-Z", "root", "--immediate-mode"),
        *("-B", "65536", "-s", str(snaplen), "-w", str(path)),
    ) as tcpdump:
        tcpdump.expect("listening on")
        yield path
        time.sleep(_CATCH_UP)
