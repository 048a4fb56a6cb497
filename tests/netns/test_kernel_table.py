# SPDX-License-Identifier: GPL-2.0-or-later
"""The table on the running kernel: ownership, the switch, what it leads to, what stays.

Over programs there is nothing in it; what holds of it holds all the same.
"""

import asyncio
import socket
import subprocess
from dataclasses import replace

import pytest

from tests.lab.plane import RULESET, data_plane, in_gateway
from tests.lab.topology import Lab
from tests.planes import DEVICE, NEAR_END, PLANE
from vpngate.config import Plane
from vpngate.errors import TableTaken
from vpngate.kernel.live import LiveDataPlane
from vpngate.kernel.survey.namespace import datagram
from vpngate.packets import Endpoint, Transport, parse_address
from vpngate.policy import Throttle
from vpngate.prefixes.intervals import Intervals

pytestmark = pytest.mark.netns

READABLE = PLANE is Plane.NFTABLES  # what the table holds


def flow(remote: str, transport: Transport = Transport.UDP) -> Throttle:
    subscriber = parse_address("100.64.1.2")
    return Throttle(
        transport,
        Endpoint(subscriber, 1000),
        Endpoint(parse_address(remote), 2000),
        subscriber,
        180,
    )


def run(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def test_listing_reads_and_survives_a_flush(lab: Lab) -> None:
    async def scenario(plane: LiveDataPlane) -> None:
        await plane.start(RULESET)
        await plane.throttle([flow("198.51.100.10"), flow("203.0.113.10")])
        await plane.rearm()
        run("nft", "flush", "ruleset")
        listed = run("nft", "list", "table", "netdev", "vpngate")
        assert "flags owner" in listed
        assert ("100.64.1.2 . 198.51.100.10" in listed) is READABLE
        assert "100.64.1.2 . 203.0.113.10" not in listed
        assert (await plane.counters()).throttled_flows == {"ipv4": 1, "ipv6": 0}
        assert await plane.verify() == []

    in_gateway(lab, scenario)
    assert "vpngate" not in lab.gateway.run("nft", "list", "ruleset")
    assert NEAR_END not in lab.gateway.run("ip", "link")
    assert "clsact" not in lab.gateway.run("tc", "qdisc")


def test_a_second_owner_is_refused_and_touches_nothing(lab: Lab) -> None:
    async def scenario(plane: LiveDataPlane) -> None:
        await plane.start(RULESET)
        before = run("nft", "-s", "list", "ruleset"), run("ip", "-brief", "link")
        second = data_plane()
        with pytest.raises(TableTaken, match="belongs to another process"):
            await second.start(RULESET)
        await second.stop()
        beside = data_plane()
        await beside.start(replace(RULESET, table="other"))
        assert await plane.verify() == []
        await beside.stop()
        after = run("nft", "-s", "list", "ruleset"), run("ip", "-brief", "link")
        assert after == before
        assert await plane.verify() == []

    in_gateway(lab, scenario)


def test_a_table_that_nobody_owns_is_replaced_and_told(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(plane: LiveDataPlane) -> None:
        run("nft", "add", "table", "netdev", "vpngate")
        run("nft", "add", "chain", "netdev", "vpngate", "left")
        run("nft", "add", "rule", "netdev", "vpngate", "left", "counter")
        await plane.start(RULESET)
        listed = run("nft", "list", "table", "netdev", "vpngate")
        assert "flags owner" in listed
        assert "chain left" not in listed
        assert await plane.verify() == []

    in_gateway(lab, scenario)
    told = [record.message for record in caplog.records if "replaced" in record.message]
    assert told == [
        "nftables table netdev vpngate was there and belonged to nobody: replaced"
    ]


def test_reload_ends_the_verdicts_it_covers(lab: Lab) -> None:
    async def scenario(plane: LiveDataPlane) -> None:
        await plane.start(RULESET)
        transports = (Transport.UDP, Transport.TCP, Transport.ESP, Transport.GRE)
        await plane.throttle([flow("198.51.100.10", one) for one in transports])
        assert (await plane.counters()).throttled_flows["ipv4"] == 4
        covered = Intervals.of_prefixes(["198.51.100.0/24"])
        await plane.replace(replace(RULESET, spared=covered))
        assert (await plane.counters()).throttled_flows["ipv4"] == 0
        listed = run("nft", "list", "table", "netdev", "vpngate")
        assert "100.64.1.2" not in listed
        assert await plane.verify() == []
        await plane.replace(replace(RULESET, enforce=False))
        assert NEAR_END not in run("ip", "link")
        await plane.replace(RULESET)
        assert await plane.verify() == []

    in_gateway(lab, scenario)


def test_a_deleted_device_is_put_back(lab: Lab) -> None:
    async def scenario(plane: LiveDataPlane) -> None:
        await plane.start(RULESET)
        await plane.throttle([flow("198.51.100.10")])
        await plane.rearm()
        run("ip", "link", "del", DEVICE)
        for _ in range(600):
            await asyncio.sleep(0.1)
            if DEVICE not in run("ip", "link"):
                continue
            shown = run("tc", "class", "show", "dev", DEVICE)
            if shown.count("rate 5Mbit") == 2:
                break
        else:
            pytest.fail("the device or its classes did not come back")
        # What an event had repaired is told by the next look, and only by that one.
        assert set(await plane.verify()) <= {"ifb"}
        assert await plane.verify() == []

    in_gateway(lab, scenario)


def test_to_observe_with_another_rate_and_back(lab: Lab) -> None:
    async def scenario(plane: LiveDataPlane) -> None:
        await plane.start(RULESET)
        await plane.throttle([flow("198.51.100.10")])
        watching = replace(RULESET, enforce=False, rate=1_000_000)
        await plane.replace(watching)
        assert await plane.verify() == []
        await plane.replace(replace(watching, enforce=True))
        await plane.throttle([flow("198.51.100.11")])
        assert "rate 1Mbit" in run("tc", "class", "show", "dev", DEVICE)
        assert await plane.verify() == []

    in_gateway(lab, scenario)


def test_an_interface_that_went_does_not_keep_a_reload_from_the_others(
    lab: Lab,
) -> None:
    with_guest = replace(RULESET, interfaces=("lan0", "lan1", "guest0"))

    async def scenario(plane: LiveDataPlane) -> None:
        run("ip", "link", "add", "guest0", "type", "veth")
        try:
            await plane.start(with_guest)
            run("ip", "link", "del", "guest0")
            await plane.replace(replace(with_guest, enforce=False))
            await plane.replace(with_guest)
            assert set(await plane.verify()) <= {"hook"}  # told by an event
            run("ip", "link", "add", "guest0", "type", "veth")
            run("ip", "link", "set", "guest0", "up")
            assert set(await plane.verify()) <= {"hook"}  # Linux 6.16 hooks by itself
            listed = run("nft", "list", "table", "netdev", "vpngate")
            assert ("guest0" in listed) is READABLE
            download = flow("198.51.100.10")
            await plane.throttle([download])
            await plane.rearm()
            packet = datagram(download.remote, download.subscriber, b"")
            with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM) as sender:
                sender.sendto(packet, ("guest0", 0x0800, 0, 0, b"\xff" * 6))
            assert (await plane.counters()).throttled_packets["download"] == 1
        finally:
            run("ip", "link", "del", "guest0")

    in_gateway(lab, scenario)


@pytest.mark.parametrize("kind", ["ingress", "clsact"])
def test_an_operators_qdisc_at_the_hooks_is_none_of_our_business(
    lab: Lab, kind: str
) -> None:
    lab.gateway.run("tc", "qdisc", "add", "dev", "lan0", kind)
    try:

        async def scenario(plane: LiveDataPlane) -> None:
            await plane.start(RULESET)
            assert await plane.verify() == []

        in_gateway(lab, scenario)
        assert f"qdisc {kind}" in lab.gateway.run("tc", "qdisc", "show", "dev", "lan0")
    finally:
        lab.gateway.run("tc", "qdisc", "del", "dev", "lan0", kind)
