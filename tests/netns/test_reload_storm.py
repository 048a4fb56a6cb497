# SPDX-License-Identifier: GPL-2.0-or-later
"""However often the registry is reloaded, no registered address is slowed meanwhile.

Probes of registered addresses flow throughout, and a verdict stands against each of
them that no reload takes away (`tests/lab/harness.py`): the kernel's set of spared
addresses alone keeps them out of the slow class. Every reload takes the interval
around each probed address out of that set and puts another in its place.

VPNGATE_RELOADS sets how many reloads: 1,000 for the whole test, VPNGATE_SEED another
storm.
"""

import contextlib
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from itertools import count
from pathlib import Path
from random import Random

import pytest

from tests.lab import load, probes, rates
from tests.lab.daemon import HARNESS, Daemon, daemon, enforcing_settings
from tests.lab.probes import Interval, Probe
from tests.lab.topology import Lab
from vpngate.daemon.outside.client import request

RELOADS = int(os.environ.get("VPNGATE_RELOADS", "10"))
SEED = int(os.environ.get("VPNGATE_SEED", "1"))


_PREFIXES = 20_000
_NEIGHBOURHOODS = 1_100  # a family, of eleven prefixes: a fifth more than registered
_TURNOVER = 300  # of them that go in each reload, and as many others that come
# One probe alone exceeds its subscriber's bucket: in the slow class it would lose.
_PROBE_RATE = 1.6 * rates.RATE
_PROBE_SIZE = 500  # bytes
_ORDINARY_RATE = 5e6  # bit/s
_VERDICTS_STAND = 0.95  # of the time at least
_ANSWER = 60.0  # seconds for a reload: a machine may be busy with other things
_PATIENCE = 120 + 3 * RELOADS  # seconds

# Each probed address, and the prefixes about it: the usual one, the address alone, a
# direct neighbour on either side, one around them. In every reload they come and go,
# one that holds the address always stays.
ABOUT = {
    "203.0.113.10": (
        "203.0.113.8/29",
        "203.0.113.10/32",
        "203.0.113.0/29",
        "203.0.113.16/28",
        "203.0.113.0/24",
    ),
    "2001:db8:a::10": (
        "2001:db8:a::/64",
        "2001:db8:a::10/128",
        "2001:db8:9:8000::/49",
        "2001:db8:a:1::/64",
        "2001:db8:a::/48",
    ),
    "100.64.2.2": (
        "100.64.2.0/29",
        "100.64.2.2/32",
        "100.64.1.248/29",
        "100.64.2.8/29",
        "100.64.2.0/24",
    ),
    "2001:db8:64:2::2": (
        "2001:db8:64:2::/64",
        "2001:db8:64:2::2/128",
        "2001:db8:64:1:8000::/65",
        "2001:db8:64:3::/66",
        "2001:db8:64:2::/63",
    ),
}
# Where all others are: neighbourhoods of sixteen units of this length.
CROWD = ((ip_network("10.0.0.0/8"), 28), (ip_network("2001:db8:8000::/33"), 64))


def _neighbourhood(
    network: IPv4Network | IPv6Network, unit: int, number: int
) -> Iterator[str]:
    """Nine adjacent prefixes, one around six of them, one host inside of it."""
    kind, bits = type(network), network.max_prefixlen
    size = 1 << (bits - unit)
    first = int(network.network_address) + 16 * size * number
    yield str(kind((first, unit - 3)))
    yield str(kind((first + 3 * size + 1, bits)))
    for place in (0, 1, 2, 3, 6, 7, 8, 9, 10):
        yield str(kind((first + place * size, unit)))


def _crowd(random: Random) -> Iterator[str]:
    """More prefixes than are registered at a time, half of each family."""
    for network, unit in CROWD:
        total = 1 << (unit - 4 - network.prefixlen)
        for number in random.sample(range(total), _NEIGHBOURHOODS):
            yield from _neighbourhood(network, unit, number)


def _interval_around(address: str, prefixes: Sequence[str]) -> Interval:
    """What prefixes come to around an address, and merge with next to each other."""
    version, place = ip_address(address).version, int(ip_address(address))
    networks = [n for n in map(ip_network, prefixes) if n.version == version]
    first = last = place
    grown = True
    while grown:
        grown = False
        for low, high in ((int(n[0]), int(n[-1])) for n in networks):
            if low <= last + 1 and high >= first - 1 and (low < first or high > last):
                first, last, grown = min(first, low), max(last, high), True
    return Interval(first, last)


class Storm:
    """A registry file of which something else holds after each `move`."""

    def __init__(self, file: Path, random: Random) -> None:
        self._file = file
        self._random = random
        crowd = list(_crowd(random))
        random.shuffle(crowd)
        self._present = crowd[:_PREFIXES]
        self._absent = crowd[_PREFIXES:]
        self._about = {address: [rows[0]] for address, rows in ABOUT.items()}
        self._write()

    def around(self, version: int) -> list[Interval]:
        """The intervals around the probed addresses of an IP version, in order."""
        return sorted(
            self._around(address, rows)
            for address, rows in self._about.items()
            if ip_address(address).version == version
        )

    def move(self) -> None:
        """Another file in its place: a part of the crowd, all about the probed."""
        went = self._take(self._present)
        self._present += self._take(self._absent)
        self._absent += went
        for address in ABOUT:
            self._about[address] = self._other_rows(address)
        self._write()

    def expel(self) -> None:
        """Leave none of the probed addresses registered."""
        self._about = {address: [] for address in ABOUT}
        self._write()

    @staticmethod
    def _around(address: str, rows: Sequence[str]) -> Interval:
        return _interval_around(address, rows)

    def _other_rows(self, address: str) -> list[str]:
        """A choice that holds the address and comes to another interval."""
        before = self._around(address, self._about[address])
        while True:
            rows = [row for row in ABOUT[address] if self._random.random() < 0.5]
            holds = any(ip_address(address) in ip_network(row) for row in rows)
            if holds and self._around(address, rows) != before:
                return rows

    def _take(self, prefixes: list[str]) -> list[str]:
        """Some of them, at random."""
        self._random.shuffle(prefixes)
        some = prefixes[-_TURNOVER:]
        del prefixes[-_TURNOVER:]
        return some

    def _write(self) -> None:
        """All of it at once, as a registry should be published."""
        about = [row for rows in self._about.values() for row in rows]
        numbers = count(1)
        made = self._file.with_suffix(".new")
        with made.open("w") as file:
            file.write("prefix,registration\n")
            file.writelines(
                f"{row},R-{next(numbers)}\n" for row in (*about, *self._present)
            )
        made.replace(self._file)


@pytest.fixture
def storm(lab: Lab) -> Iterator[tuple[Daemon, Storm]]:
    """A daemon that enforces, with a registry of 20,000 prefixes."""
    settings = enforcing_settings(lab)
    # A removed prefix would keep its standing, and nothing would leave the kernel.
    # The guard may stay as shipped: 5 % may go at once, of which this is a third.
    # The lab's subscribers have shared addresses, and some of theirs are registered.
    settings.change(
        registry={"removal_grace": "0s", "allow_special": True},
        halt={"spared_packets": 1_000_000_000},  # that is what is done here
    )
    made = Storm(settings.registry, Random(SEED))
    with daemon(lab.gateway, settings, HARNESS) as running:
        running.wait_until(
            lambda: bool(running.ask("status")["kernel"]["armed"]), "arming"
        )
        yield running, made


def _probes(lab: Lab) -> list[Probe]:
    """Registered afar in both families and directions, and registered at home."""
    ways = [
        (lab.client.at(4), lab.member.at(4), True),
        (lab.client.at(4), lab.member.at(4), False),
        (lab.client.at(6), lab.member.at(6), True),
        (lab.client.at(6), lab.member.at(6), False),
        (lab.neighbour.at(4), lab.stranger.at(4), True),
        (lab.neighbour.at(6), lab.stranger.at(6), False),
    ]
    return [Probe(*way, port) for port, way in enumerate(ways, 7001)]


def _spared(running: Daemon) -> float:
    return running.metric("vpngate_spared_packets_total")


def _throttled(running: Daemon) -> float:
    return running.metric("vpngate_throttled_packets_total")


@pytest.mark.timeout(_PATIENCE)
def test_no_reload_slows_a_registered_address(
    lab: Lab,
    storm: tuple[Daemon, Storm],
    record_property: Callable[[str, object], None],
) -> None:
    print("seed", SEED)  # noqa: T201
    running, registry = storm
    probed = _probes(lab)
    running.ask("keep_throttled", flows=[probe.ends for probe in probed])
    with contextlib.ExitStack() as stack:
        streams = [
            stack.enter_context(probe.sending(_PROBE_RATE, _PROBE_SIZE))
            for probe in probed
        ]
        ordinary = stack.enter_context(
            load.stream(lab.client.at(), lab.stranger.at(), rate=_ORDINARY_RATE)
        )
        seconds = [_reload(running, registry) for _ in range(RELOADS)]
        *arrivals, plain = probes.stop_all([*streams, ordinary])
    spared, sent = _spared(running), sum(one.sent for one in arrivals)
    figures = {
        "reloads": RELOADS,
        "median_seconds": round(statistics.median(seconds), 3),
        "p99_seconds": round(sorted(seconds)[len(seconds) * 99 // 100], 3),
        "worst_seconds": round(max(seconds), 3),
        "probes_sent": sent,
        "probes_spared": int(spared),
        "ordinary_sent": plain.sent,
    }
    for name, value in figures.items():
        record_property(name, value)
        print(name, value)  # noqa: T201
    assert _throttled(running) == 0
    assert [one.lost for one in arrivals] == [0] * len(arrivals)
    assert plain.lost == 0
    assert min(one.offered_rate for one in arrivals) > 1.2 * rates.RATE
    assert _VERDICTS_STAND * sent <= spared <= sent
    _assert_in_sync(running)
    _assert_verdicts_bite(running, registry, probed[0])


def _reload(running: Daemon, registry: Storm) -> float:
    """One more reload, taken and in the kernel; how long it took."""
    registry.move()
    begin = time.monotonic()
    outcome = request(running.settings.socket, "reload", timeout=_ANSWER)
    seconds = time.monotonic() - begin
    assert outcome["registry"].startswith("taken from ")
    assert sum(outcome["prefixes"].values()) >= _PREFIXES
    for version in (4, 6):
        addresses = [one for one in ABOUT if ip_address(one).version == version]
        found = probes.spared_around(running, version, addresses)
        assert found == registry.around(version)
    return seconds


def _assert_in_sync(running: Daemon) -> None:
    """The kernel holds what it should, and never had to be put right."""
    running.ask("verify")
    state = running.ask("status")
    assert state["kernel"]["in_sync"]
    assert state["healthy"], state["reasons"]
    assert running.metric("vpngate_kernel_repairs_total") == 0


def _assert_verdicts_bite(running: Daemon, registry: Storm, probe: Probe) -> None:
    """Without its registration the same stream is slow: the test could have failed."""
    registry.expel()
    running.ask("reload")
    with probe.sending(_PROBE_RATE, _PROBE_SIZE):
        running.wait_until(lambda: _throttled(running) > 0, "a throttled packet")
