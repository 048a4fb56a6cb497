# SPDX-License-Identifier: GPL-2.0-or-later
"""Whoever waits for a source can be told to stop, and stops at once."""

import threading
import time
from dataclasses import replace
from random import Random

import pytest

from tests.faults.asking import ask
from tests.faults.certificates import Authority
from tests.faults.registry_server import Connection, RegistryServer, closed_port
from tests.faults.signing import Signer
from tests.faults.test_feed_sources import GOOD, LIMITS, PATH, feed, publish
from vpngate.errors import FeedFault
from vpngate.feed import (
    Feed,
    FeedSettings,
    Reason,
)


def test_cancel_ends_a_transfer(
    authority: Authority, signer: Signer, server: RegistryServer, mirror: RegistryServer
) -> None:
    """The daemon stops while a server drips: no waiting, and no next source."""
    begun = threading.Event()

    def route(connection: Connection) -> None:
        connection.head(Content_Type="text/csv", Content_Length="100000")
        while True:
            connection.send(b"#")
            begun.set()
            server.pause(0.05)

    server.routes[PATH] = route
    publish(mirror, signer, GOOD)
    client = feed(authority, signer, server.url(PATH), mirror.url(PATH))
    caught: list[FeedFault] = []

    def run() -> None:
        try:
            ask(client)
        except FeedFault as fault:
            caught.append(fault)

    thread = threading.Thread(target=run)
    thread.start()
    assert begun.wait(60)
    begin = time.monotonic()
    client.cancel()
    thread.join(60)
    assert time.monotonic() - begin < LIMITS.deadline / 2
    assert [fault.reason for fault in caught] == [Reason.CANCELLED]
    assert not mirror.requests
    with pytest.raises(FeedFault, match="asked to stop"):
        ask(client)


def test_cancel_before_the_first_fetch(
    authority: Authority, signer: Signer, server: RegistryServer
) -> None:
    publish(server, signer, GOOD)
    client = feed(authority, signer, server.url(PATH))
    client.cancel()
    with pytest.raises(FeedFault) as caught:
        ask(client)
    assert caught.value.reason == Reason.CANCELLED
    assert not server.requests


def test_cancel_ends_a_pause(authority: Authority, signer: Signer) -> None:
    settings = FeedSettings.parse(
        [f"https://localhost:{closed_port()}/"],
        signer.public,
        ca_file=authority.path,
        limits=replace(LIMITS, pause=8.0, deadline=30.0),
    )
    client = Feed(settings, Random(1))
    timer = threading.Timer(0.3, client.cancel)
    timer.start()
    begin = time.monotonic()
    with pytest.raises(FeedFault) as caught:
        ask(client)
    timer.join()
    assert caught.value.reason == Reason.CANCELLED
    assert time.monotonic() - begin < 6  # of the pause of 8
