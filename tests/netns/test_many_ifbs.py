# SPDX-License-Identifier: GPL-2.0-or-later
"""More subscribers than one ifb takes: what goes, is changed, or is left behind."""

import json
import re
import subprocess
import time
from collections import Counter
from typing import Any

import pytest

from tests.lab.namespaces import PATIENCE
from tests.lab.plane import RULESET, in_gateway
from tests.lab.topology import Lab
from vpngate.kernel.live import LiveDataPlane
from vpngate.kernel.shaping.devices.naming import ADDRESS, ifb_names
from vpngate.packets import Endpoint, Transport
from vpngate.policy import Throttle

pytestmark = pytest.mark.netns

SECOND = "ifb-vpngate.1"
# As nft lists what a flow leads to: class, and interface by name or, gone, by index.
_VALUE = re.compile(r': ([0-9a-f]+:[0-9a-f]+) \. "?([\w.-]+)"?')


def flow(number: int) -> Throttle:
    subscriber = (0x64400000 + number).to_bytes(4, "big")
    remote = Endpoint((0x0A000000 + number).to_bytes(4, "big"), 51820)
    return Throttle(Transport.UDP, Endpoint(subscriber, 1000), remote, subscriber, 180)


def run(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def ifbs() -> dict[str, int]:
    """The ifbs there are, with their indexes."""
    links: list[dict[str, Any]] = json.loads(run("ip", "-j", "link"))
    return {
        link["ifname"]: link["ifindex"] for link in links if "ifb" in link["ifname"]
    }


def classes(device: str) -> Counter[str]:
    """What is said of each class but its counters, and how often."""
    listed = run("tc", "class", "show", "dev", device).splitlines()
    return Counter(line for line in listed if line.startswith("class htb"))


def leads_to() -> Counter[str]:
    """The devices that verdicts lead to, and how many."""
    listed = run("nft", "list", "table", "netdev", "vpngate")
    return Counter(device for _, device in _VALUE.findall(listed))


async def settled(plane: LiveDataPlane) -> None:
    """Until a look finds nothing to mend any more."""
    deadline = time.monotonic() + PATIENCE
    while await plane.verify():
        assert time.monotonic() < deadline


def test_an_ifb_deleted_or_set_down_is_made_anew_and_no_other(lab: Lab) -> None:
    async def scenario(plane: LiveDataPlane) -> None:
        await plane.start(RULESET)
        await plane.throttle([flow(number) for number in range(280)])
        before, untouched = ifbs(), classes("ifb-vpngate")
        assert before.keys() == {"ifb-vpngate", SECOND}
        assert leads_to() == {"ifb-vpngate": 512, SECOND: 48}
        run("ip", "link", "del", SECOND)
        await plane.throttle([flow(number) for number in range(280, 300)])
        await settled(plane)
        after = ifbs()
        assert after["ifb-vpngate"] == before["ifb-vpngate"]
        assert after[SECOND] != before[SECOND]
        assert classes("ifb-vpngate") == untouched
        assert len(classes(SECOND)) == 88
        assert leads_to() == {"ifb-vpngate": 512, SECOND: 88}
        assert await plane.rearm()
        run("ip", "link", "set", "ifb-vpngate", "down")
        await settled(plane)
        assert len(classes("ifb-vpngate")) == 512
        assert leads_to() == {"ifb-vpngate": 512, SECOND: 88}
        assert await plane.rearm()

    in_gateway(lab, scenario)
    assert "ifb" not in lab.gateway.run("ip", "link")


def test_what_was_changed_by_hand_is_put_back(lab: Lab) -> None:
    async def scenario(plane: LiveDataPlane) -> None:
        await plane.start(RULESET)
        await plane.throttle([flow(number) for number in range(4)])
        asked = ("tc", "qdisc", "show", "dev", "ifb-vpngate")
        before, queues = classes("ifb-vpngate"), sorted(run(*asked).splitlines())
        assert await plane.verify() == []
        root = next(iter(before)).split()[2].split(":")[0]
        smaller = "handle 50: tbf rate 400gbit burst 1522 limit 3000"
        commands = [
            f"class change dev ifb-vpngate classid {root}:20 htb rate 9mbit",
            f"class del dev ifb-vpngate classid {root}:30",
            f"qdisc del dev ifb-vpngate parent {root}:40",
            f"qdisc change dev ifb-vpngate parent {root}:50 {smaller}",
            f"qdisc replace dev ifb-vpngate parent {root}:60 handle 7777: pfifo",
        ]
        for command in commands:
            run("tc", *command.split())
            assert await plane.verify() == ["class"], command
            assert await plane.verify() == []
            assert classes("ifb-vpngate") == before
            assert sorted(run(*asked).splitlines()) == queues
        run("tc", "qdisc", "replace", "dev", "ifb-vpngate", "root", "pfifo")
        await settled(plane)
        assert classes("ifb-vpngate") == before

    in_gateway(lab, scenario)


def test_what_a_killed_predecessor_left_goes_and_nobody_elses(lab: Lab) -> None:
    others = ("ifb-vpngates", "ifb-vpngate.64", "ifb-vpn.1", "ifb0")

    async def scenario(plane: LiveDataPlane) -> None:
        assert len(ifbs()) == 64 + len(others)
        await plane.start(RULESET)
        assert ifbs().keys() == {"ifb-vpngate", *others}
        await plane.stop()
        assert ifbs().keys() == set(others)

    names = (*ifb_names("vpngate"), *others)
    of_vpngate = f"address {ADDRESS.hex(':')}"
    lab.gateway.ip(*(f"link add {name} {of_vpngate} type ifb" for name in names))
    try:
        in_gateway(lab, scenario)
    finally:
        lab.gateway.ip(*(f"link del {name}" for name in others))
