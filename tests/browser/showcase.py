# SPDX-License-Identifier: GPL-2.0-or-later
"""A gateway's pages, served as the daemon serves them, with what the tests say is so.

Knows the real server and pages; what they show is that of tests/unit/public.
"""

import contextlib
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.unit.daemon.gatehouse import CONFIG, NOW, snapshot
from tests.unit.public import sample
from tests.unit.public.test_address_standing import PROTECT, ROWS, kept
from vpngate.http.server import HttpServer
from vpngate.public.address_standing import AddressStanding, standing_of
from vpngate.public.check_page import CheckAnswers, CheckPage
from vpngate.public.check_rate import CheckRate, Refill
from vpngate.public.question import AddressRange
from vpngate.public.status_page import report_json, status_json, status_page

STANDING = kept(snapshot(CONFIG + PROTECT, ROWS))


@dataclass
class Showcase:
    """`report` is what is shown, `slowed` whether the caller's tunnel is."""

    port: int = 0
    report: dict[str, Any] = field(default_factory=sample.enforcing)
    slowed: bool = False

    def url(self, path: str = "/") -> str:
        """The address of a page."""
        return f"http://127.0.0.1:{self.port}{path}"

    async def told(self) -> Mapping[str, Any]:
        """What is shown, a copy that no page has seen."""
        return dict(self.report)

    async def state(self) -> Mapping[str, Any]:
        """The same for programs."""
        return sample.state()

    async def is_slowed(self, _address: bytes) -> bool:
        """Whether the caller's tunnel is slowed."""
        return self.slowed

    def standing(self, question: AddressRange) -> AddressStanding:
        """What the registry says."""
        return standing_of(question, STANDING, NOW, lambda s: s.registry.covered(NOW))


@contextlib.contextmanager
def showcase() -> Iterator[Showcase]:
    """The pages on loopback, for the length of a with block."""
    shown = Showcase()
    answers = CheckAnswers(shown.standing, shown.is_slowed, tuple, lambda _: False)
    often = CheckRate(Refill(10_000, 1000), Refill(10_000, 1000))
    routes = {
        ("GET", "/"): status_page(shown.told),
        ("GET", "/report.json"): report_json(shown.told),
        ("GET", "/status.json"): status_json(shown.state),
        **CheckPage(answers, shown.told, often).routes("/check"),
    }
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        shown.port = free.getsockname()[1]
    server = HttpServer("127.0.0.1", shown.port, routes)
    server.start()
    try:
        yield shown
    finally:
        server.stop()
