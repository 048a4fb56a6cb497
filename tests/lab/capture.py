# SPDX-License-Identifier: GPL-2.0-or-later
"""Captures of what crosses the gateway.

Knows tcpdump; does not know what is in the packets.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tests.lab.namespaces import Namespace


@contextlib.contextmanager
def capturing(
    gateway: Namespace, path: Path, interface: str = "lan0", snaplen: int = 262_144
) -> Iterator[Path]:
    """A pcap file at `path` of all packets on `interface`, complete after the block."""
    with gateway.running(
        *("tcpdump", "-i", interface, "-U", "-n", "-Z", "root"),
        *("-B", "65536", "-s", str(snaplen), "-w", str(path)),
    ) as tcpdump:
        tcpdump.expect("listening on")
        yield path
