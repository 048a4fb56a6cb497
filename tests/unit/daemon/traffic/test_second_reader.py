# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemon's second readings: a budget, counters, and a log that names nobody."""

import logging
import time
from dataclasses import replace

import pytest

from tests.unit.second_reading.confirmations import CONFIRMATIONS, TUNNELS, heard
from tests.unit.tunnels import crafting
from tests.unit.tunnels import test_ipsec as ipsec_
from vpngate.daemon.traffic.second_reader import CORE_SHARE, SecondReaders
from vpngate.metrics import Metrics
from vpngate.packets import Packet, Transport, format_address
from vpngate.recognition import Heard, SecondReader, Tunnel
from vpngate.second_reading import Outcome

BY_NAME = {c.name: c for c in CONFIRMATIONS}
WIREGUARD = TUNNELS["wireguard"]
SOUND = heard(WIREGUARD, BY_NAME["WireGuard, response"].packets())
# Of an answer to somebody else, the first reader says that it fits.
OFF = [
    SOUND[0],
    Heard(
        SOUND[1].packet._replace(payload=SOUND[1].packet.payload[:8] + bytes(84)),
        SOUND[1].message,
    ),
]


class Bench:
    """Second readers under a clock of the test's own; each reading takes `cost`."""

    def __init__(self, cost: float = 0.0, *tunnels: Tunnel) -> None:
        self.now = 1000.0
        self.metrics = Metrics("1", TUNNELS)
        self._cost = cost
        self._spent = 0.0
        self.readers = SecondReaders(
            tunnels or TUNNELS.values(),
            self.metrics,
            clock=lambda: self.now,
            spent=self._spend,
        )

    def _spend(self) -> float:
        """Asked before and after a reading."""
        self._spent += self._cost
        return self._spent

    def count(self, outcome: Outcome, tunnel: str = "wireguard") -> float:
        value = self.metrics.registry.get_sample_value(
            "vpngate_second_reading_total", {"tunnel": tunnel, "outcome": outcome}
        )
        assert value is not None, "there from the start"
        return value


def test_what_agrees_is_confirmed_and_what_differs_is_not() -> None:
    bench = Bench()
    assert bench.readers.agrees(WIREGUARD, SOUND)
    assert not bench.readers.agrees(WIREGUARD, OFF)
    assert bench.count(Outcome.AGREED) == bench.count(Outcome.DIFFERED) == 1


def test_every_counter_is_there_from_the_start() -> None:
    bench = Bench()
    for tunnel in TUNNELS:
        for outcome in Outcome:
            assert bench.count(outcome, tunnel) == 0


def test_what_the_budget_does_not_allow_is_left_alone() -> None:
    """A share of one core, and no more than a second of it saved up."""
    cost = CORE_SHARE / 4 * 1.001
    bench = Bench(cost)
    assert [bench.readers.agrees(WIREGUARD, SOUND) for _ in range(6)] == [
        *[True] * 4,
        *[False] * 2,
    ]
    assert bench.count(Outcome.BUDGET) == 2
    bench.now += 0.25
    assert bench.readers.agrees(WIREGUARD, SOUND)
    assert not bench.readers.agrees(WIREGUARD, SOUND)
    bench.now += 3600
    assert sum(bench.readers.agrees(WIREGUARD, SOUND) for _ in range(20)) == 4


def test_a_reading_that_overdraws_is_paid_for_by_the_next_ones() -> None:
    bench = Bench(10 * CORE_SHARE)
    assert bench.readers.agrees(WIREGUARD, SOUND)
    bench.now += 8
    assert not bench.readers.agrees(WIREGUARD, SOUND)
    bench.now += 2
    assert bench.readers.agrees(WIREGUARD, SOUND)


def test_a_clock_that_goes_back_earns_nothing_and_loses_nothing() -> None:
    bench = Bench(CORE_SHARE / 2 * 1.001)
    assert bench.readers.agrees(WIREGUARD, SOUND)
    bench.now -= 500
    assert bench.readers.agrees(WIREGUARD, SOUND)
    assert not bench.readers.agrees(WIREGUARD, SOUND)


def test_a_flood_of_crafted_messages_stays_within_the_budget() -> None:
    """Time passes as this thread works, so that a busy machine changes nothing.

    Without a budget the readings would take most of the half second that this spends.
    """
    readers = SecondReaders(
        TUNNELS.values(), Metrics("1", TUNNELS), clock=time.thread_time
    )
    ipsec = TUNNELS["ipsec"]
    said = heard(ipsec, crafted_exchange())
    assert len(said) == 2
    start, spent, dearest = time.thread_time(), 0.0, 0.0
    while (before := time.thread_time()) < start + 0.5:
        outcome = readers._outcome(ipsec, said)
        assert outcome in (Outcome.AGREED, Outcome.BUDGET)
        if outcome is Outcome.AGREED:
            took = time.thread_time() - before
            spent, dearest = spent + took, max(dearest, took)
    allowed = CORE_SHARE * (1 + time.thread_time() - start)
    assert spent <= 1.1 * allowed + dearest


def crafted_exchange() -> list[Packet]:
    """Both opening messages of IKEv2, full of payloads, 1,436 bytes each."""
    small = b"".join(ipsec_.payload(43, b"") for _ in range(30)) + ipsec_.payload(
        0, b""
    )
    body = ipsec_.payload(43, bytes(1436 - 28 - 4 - len(small))) + small
    request = ipsec_.ike(body, 33, 34, 0x08, responder=ipsec_.NONE)
    response = ipsec_.ike(body, 33, 34, 0x20)
    assert len(request) == len(response) == 1436
    return [
        crafting.packet(Transport.UDP, request, ipsec_.IKE),
        crafting.packet(Transport.UDP, response, ipsec_.IKE, back=True),
    ]


def test_real_readings_are_measured() -> None:
    readers = SecondReaders(TUNNELS.values(), Metrics("1", TUNNELS))
    before = readers._left
    assert readers.agrees(WIREGUARD, SOUND)
    assert readers._left < before


def test_a_difference_is_told_once_a_minute_and_tunnel(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = Bench()
    for seconds in (0, 10, 49, 2, 30):
        bench.now += seconds
        bench.readers.agrees(WIREGUARD, OFF)
    assert len(caplog.records) == 2
    assert bench.count(Outcome.DIFFERED) == 5
    pptp = TUNNELS["pptp"]
    said = heard(pptp, BY_NAME["PPTP"].packets())
    bench.readers.agrees(pptp, said[1:])
    assert len(caplog.records) == 3


def test_the_line_has_the_shape_of_the_packets_and_nothing_of_anybody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    Bench().readers.agrees(WIREGUARD, OFF)
    [record] = caplog.records
    line = record.getMessage()
    assert record.levelno == logging.WARNING
    for part in ("wireguard", "handshake response", "92", "148", "token"):
        assert part in line
    for packet, message in OFF:
        for end in (packet.source, packet.destination):
            assert format_address(end.address) not in line
            assert str(end.port) not in line
        assert message.token.hex() not in line
        assert repr(message.token)[2:-1] not in line


def missing() -> SecondReader:
    raise ModuleNotFoundError(name="scapy")


def test_without_scapy_nothing_is_confirmed_and_that_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    without = [replace(WIREGUARD, second=missing), replace(WIREGUARD, second=missing)]
    bench = Bench(0.0, *without)
    assert [r.levelno for r in caplog.records] == [logging.ERROR]
    assert "scapy" in caplog.text
    for tunnel in without:
        assert not bench.readers.agrees(tunnel, SOUND)
    assert bench.count(Outcome.UNAVAILABLE) == 2
    assert len(caplog.records) == 1


def test_scapy_is_loaded_when_the_readers_are_made_and_looked_for_once() -> None:
    asked = 0

    def second() -> SecondReader:
        nonlocal asked
        asked += 1
        raise ModuleNotFoundError

    tunnel = replace(WIREGUARD, second=second)
    bench = Bench(0.0, tunnel)
    assert asked == 1
    for _ in range(5):
        assert not bench.readers.agrees(tunnel, SOUND)
    assert asked == 1


def test_a_tunnel_that_a_reload_enables_is_loaded_then() -> None:
    bench = Bench(0.0, WIREGUARD)
    bench.readers.load([TUNNELS["pptp"]])
    said = heard(TUNNELS["pptp"], BY_NAME["PPTP"].packets())
    assert bench.readers.agrees(TUNNELS["pptp"], said)
