# SPDX-License-Identifier: GPL-2.0-or-later
"""More subscribers than one device takes: what goes, is changed, or is left behind.

Over either data plane: ifbs, or the near ends of pairs.
"""

import json
import re
import socket
import struct
import subprocess
import time
from collections import Counter
from typing import Any

import pytest

from tests.lab.namespaces import PATIENCE
from tests.lab.plane import RULESET, in_gateway
from tests.lab.topology import Lab
from tests.planes import DEVICE, NEAR_END, PLANE
from vpngate.config import Plane
from vpngate.kernel.bpf.plane_maps import VERDICT
from vpngate.kernel.bpf_steps import BpfSteps
from vpngate.kernel.live import LiveDataPlane
from vpngate.kernel.shaping.devices.naming import ADDRESS, ifb_names
from vpngate.packets import Endpoint, Transport
from vpngate.policy import Throttle

pytestmark = pytest.mark.netns

SECOND = f"{DEVICE}.1"
# As nft lists what a flow leads to: class, and interface by name or, gone, by index.
_VALUE = re.compile(r': ([0-9a-f]+:[0-9a-f]+) \. "?([\w.-]+)"?')


def flow(number: int) -> Throttle:
    subscriber = (0x64400000 + number).to_bytes(4, "big")
    remote = Endpoint((0x0A000000 + number).to_bytes(4, "big"), 51820)
    return Throttle(Transport.UDP, Endpoint(subscriber, 1000), remote, subscriber, 180)


def run(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def devices() -> dict[str, int]:
    """Those that shape, with their indexes."""
    links: list[dict[str, Any]] = json.loads(run("ip", "-j", "link"))
    return {
        link["ifname"]: link["ifindex"]
        for link in links
        if link["ifname"].startswith(NEAR_END)
    }


def classes(device: str) -> Counter[str]:
    """What is said of each class but its counters, and how often."""
    listed = run("tc", "class", "show", "dev", device).splitlines()
    return Counter(line for line in listed if line.startswith("class htb"))


def leads_to(plane: LiveDataPlane) -> Counter[str]:
    """The devices that verdicts lead to, and how many."""
    if isinstance(plane._steps, BpfSteps):
        return Counter(map(name_of, indexes_of_verdicts(plane._steps)))
    listed = run("nft", "list", "table", "netdev", "vpngate")
    return Counter(device for _, device in _VALUE.findall(listed))


def indexes_of_verdicts(steps: BpfSteps) -> list[int]:
    """Of all that have not ended."""
    now, found = time.monotonic_ns(), []
    for held in steps.programs.maps.verdicts.values():
        for _, values, count in held.items():
            few = struct.iter_unpack(VERDICT, values)
            those = [(device, until) for _, device, _, _, until in few]
            assert len(those) == count
            found += [device for device, until in those if until > now]
    return found


def name_of(index: int) -> str:
    try:
        return socket.if_indextoname(index)
    except OSError:
        return str(index)


async def settled(plane: LiveDataPlane) -> None:
    """Until a look finds nothing to mend any more."""
    deadline = time.monotonic() + PATIENCE
    while await plane.verify():
        assert time.monotonic() < deadline


def test_a_device_deleted_or_set_down_is_made_anew_and_no_other(lab: Lab) -> None:
    async def scenario(plane: LiveDataPlane) -> None:
        await plane.start(RULESET)
        await plane.throttle([flow(number) for number in range(280)])
        before, untouched = devices(), classes(DEVICE)
        assert before.keys() == {DEVICE, SECOND}
        assert leads_to(plane) == {DEVICE: 512, SECOND: 48}
        run("ip", "link", "del", SECOND)
        await plane.throttle([flow(number) for number in range(280, 300)])
        await settled(plane)
        after = devices()
        assert after[DEVICE] == before[DEVICE]
        assert after[SECOND] != before[SECOND]
        assert classes(DEVICE) == untouched
        assert len(classes(SECOND)) == 88
        assert leads_to(plane) == {DEVICE: 512, SECOND: 88}
        assert await plane.rearm()
        run("ip", "link", "set", DEVICE, "down")
        await settled(plane)
        assert len(classes(DEVICE)) == 512
        assert leads_to(plane) == {DEVICE: 512, SECOND: 88}
        assert await plane.rearm()

    in_gateway(lab, scenario)
    assert NEAR_END not in lab.gateway.run("ip", "link")


def test_what_was_changed_by_hand_is_put_back(lab: Lab) -> None:
    async def scenario(plane: LiveDataPlane) -> None:
        await plane.start(RULESET)
        await plane.throttle([flow(number) for number in range(4)])
        asked = ("tc", "qdisc", "show", "dev", DEVICE)
        before, queues = classes(DEVICE), sorted(run(*asked).splitlines())
        assert await plane.verify() == []
        root = next(iter(before)).split()[2].split(":")[0]
        smaller = "handle 50: tbf rate 400gbit burst 1522 limit 3000"
        commands = [
            f"class change dev {DEVICE} classid {root}:20 htb rate 9mbit",
            f"class del dev {DEVICE} classid {root}:30",
            f"qdisc del dev {DEVICE} parent {root}:40",
            f"qdisc change dev {DEVICE} parent {root}:50 {smaller}",
            f"qdisc replace dev {DEVICE} parent {root}:60 handle 7777: pfifo",
        ]
        for command in commands:
            run("tc", *command.split())
            assert await plane.verify() == ["class"], command
            assert await plane.verify() == []
            assert classes(DEVICE) == before
            assert sorted(run(*asked).splitlines()) == queues
        run("tc", "qdisc", "replace", "dev", DEVICE, "root", "pfifo")
        await settled(plane)
        assert classes(DEVICE) == before

    in_gateway(lab, scenario)


@pytest.mark.skipif(
    PLANE is Plane.EBPF, reason="of pairs: test_veth_left_behind.py, over either plane"
)
def test_what_a_killed_predecessor_left_goes_and_nobody_elses(lab: Lab) -> None:
    others = ("ifb-vpngates", "ifb-vpngate.64", "ifb-vpn.1", "ifb0")

    async def scenario(plane: LiveDataPlane) -> None:
        assert len(devices()) == 64 + len(others)
        await plane.start(RULESET)
        assert devices().keys() == {"ifb-vpngate", *others}
        await plane.stop()
        assert devices().keys() == set(others)

    names = (*ifb_names("vpngate"), *others)
    of_vpngate = f"address {ADDRESS.hex(':')}"
    lab.gateway.ip(*(f"link add {name} {of_vpngate} type ifb" for name in names))
    try:
        in_gateway(lab, scenario)
    finally:
        lab.gateway.ip(*(f"link del {name}" for name in others))
