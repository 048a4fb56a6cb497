# SPDX-License-Identifier: GPL-2.0-or-later
"""Shaping pairs whose daemon was killed: what waits there, and what becomes of them."""

import contextlib
import re
import signal
from collections.abc import Iterator

import pytest

from tests.lab import diverted, joined, load
from tests.lab.daemon import PYTHON
from tests.lab.namespaces import wait_until
from tests.lab.topology import Lab
from vpngate.errors import KernelRefused
from vpngate.kernel.shaping.devices.naming import ADDRESS, far_names, near_names

pytestmark = pytest.mark.netns

NEAR, FAR = "vgs-vpngate", "vgr-vpngate"
FAST, SLOW = 100_000_000, 512_000
PORTS = (40_100, 50_100)


@contextlib.contextmanager
def without_pairs(lab: Lab) -> Iterator[None]:
    """A killed process leaves a pair, and the test's own filters at lan0."""
    try:
        yield
    finally:
        lab.gateway.run("tc", "qdisc", "del", "dev", "lan0", "clsact", check=False)
        lab.gateway.run("ip", "link", "del", NEAR, check=False)


@pytest.mark.parametrize("up", [True, False], ids=["upload", "download"])
def test_what_waits_when_the_daemon_is_killed_is_on_its_way(
    lab: Lab, *, up: bool
) -> None:
    """What its class has let go arrives, and more is let go when it is long dead."""
    near, far = lab.client.at(4), lab.stranger.at(4)
    ends = ((near, PORTS[0]), (far, PORTS[1]))
    (sender, own), (receiver, port) = ends if up else ends[::-1]
    ways = (sender.address, own), (receiver.address, port)
    with (
        without_pairs(lab),
        lab.gateway.running(*PYTHON, "-m", "tests.lab.diverted") as process,
        diverted.bound(receiver, port) as arriving,
    ):
        process.expect("ready")
        with joined.sending(sender.namespace, *ways, rate=3 * SLOW):
            wait_until(lambda: let_go(lab) > 10, "some packets")
            process.send(signal.SIGKILL)
            process.wait()
            at_death = let_go(lab)
            wait_until(lambda: let_go(lab) > at_death + 20, "more of them")
        wait_until(lambda: waiting(lab) == 0, "an empty queue")
        arrived = 0
        with contextlib.suppress(TimeoutError):
            while arriving.recv(2000):
                arrived += 1
        assert arrived == let_go(lab)


def let_go(lab: Lab) -> int:
    """Packets that have left all classes."""
    told = lab.gateway.run("tc", "-s", "class", "show", "dev", NEAR)
    return sum(map(int, re.findall(r"Sent \d+ bytes (\d+) pkt", told)))


def waiting(lab: Lab) -> int:
    return sum(one.waiting for one in load.classes(lab.gateway, NEAR).values())


def test_what_a_killed_daemon_left_is_replaced(lab: Lab) -> None:
    with without_pairs(lab):
        with lab.gateway.running(*PYTHON, "-m", "tests.lab.diverted") as process:
            process.expect("ready")
            process.send(signal.SIGKILL)
            process.wait()
        lab.gateway.run("tc", "qdisc", "del", "dev", "lan0", "clsact")

        def scenario() -> None:
            with diverted.pairs(FAST) as made:
                assert made.shaper.missing() == []
            assert not any(diverted.addresses_of(name) for name in (NEAR, FAR))

        lab.gateway.call(scenario)


def test_what_a_killed_predecessor_left_goes_and_nobody_elses(lab: Lab) -> None:
    others = ("vgs-vpngates", "vgs-vpngate.64", "vgs-vpn.1")
    ours = zip(near_names("vpngate"), far_names("vpngate"), strict=True)
    lines = [
        f"link add {near} address {ADDRESS.hex(':')} type veth peer name {far}"
        for near, far in (*ours, *((one, f"o{at}") for at, one in enumerate(others)))
    ]
    lab.gateway.ip(*lines)

    def scenario() -> None:
        with diverted.pairs(FAST):
            assert names(lab) == {NEAR, FAR, *others}
        assert names(lab) == set(others)

    try:
        lab.gateway.call(scenario)
    finally:
        lab.gateway.ip(*(f"link del {name}" for name in others))


def names(lab: Lab) -> set[str]:
    links = lab.gateway.run("ip", "-o", "link", "show", "type", "veth").splitlines()
    found = (line.split()[1].rstrip(":").split("@")[0] for line in links)
    return {name for name in found if name.startswith("vg")}


@pytest.mark.parametrize(
    "taken",
    [
        pytest.param(f"{NEAR} type ifb", id="the near end's, no pair"),
        pytest.param(f"{NEAR} type veth peer name p0", id="the near end's"),
        pytest.param(f"{FAR} type ifb", id="the far end's"),
    ],
)
def test_a_name_that_is_somebody_elses_is_told_and_left(lab: Lab, taken: str) -> None:
    name = taken.split(maxsplit=1)[0]
    lab.gateway.ip(f"link add {taken}")

    def scenario() -> None:
        with pytest.raises(KernelRefused) as caught, diverted.pairs(FAST):
            pass
        (line,) = caught.value.lines
        assert f"interface {name}" in line

    try:
        lab.gateway.call(scenario)
        assert name in lab.gateway.run("ip", "link")
    finally:
        lab.gateway.ip(f"link del {name}")
