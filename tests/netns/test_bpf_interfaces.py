# SPDX-License-Identifier: GPL-2.0-or-later
"""The interfaces that programs stand at: shared, moved, renamed, or many.

Whatever is done to one, nobody there loses a packet, and the others are as they were.
"""

import asyncio
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

from tests.lab import announced
from tests.lab.attachings import over_each
from tests.lab.daemon import PYTHON
from tests.lab.namespaces import PATIENCE, Namespace
from tests.lab.scheduling import Waiting
from tests.netns.test_bpf_plane import (
    GATEWAY,
    HOST,
    PORTS,
    RULES,
    Running,
    at_the_gateway,
    flow,
)
from tests.netns.wire import build
from vpngate.kernel.bpf.syscall import CallAttributes, Command, attempt
from vpngate.kernel.bpf_steps import BpfSteps
from vpngate.kernel.programmed.attachments.by_links import ByLinks
from vpngate.kernel.wire.links import Announcement, What

pytestmark = over_each

AT_ONCE = 1.0  # seconds


def detach_at(steps: BpfSteps, gateway: Namespace, device: str) -> None:
    """As `bpftool link detach` does, or tc."""
    index = gateway.call(lambda: socket.if_nametoindex(device))
    for part in (steps._interfaces, steps._near):
        assert part is not None
        attachment = part._attachment
        if not isinstance(attachment, ByLinks):
            for side in ("ingress", "egress"):
                gateway.run("tc", "filter", "del", "dev", device, side, check=False)
            continue
        for link in attachment._links.get(index, {}).values():
            assert attempt(cast("Command", 34), CallAttributes("I", link)) == 0


def test_what_is_detached_by_hand_is_mended(attaching: str) -> None:
    """By one look, and nobody loses anything meanwhile."""

    async def scenario(running: Running) -> None:
        plane, steps = running.plane, running.steps
        hooks, near = steps._interfaces, steps._near
        assert hooks is not None
        assert near is not None
        await plane.throttle([flow()])
        await plane.rearm()
        for at, told in (("gate0", "hook"), ("vgs-vpngate", "ifb")):
            await asyncio.to_thread(detach_at, steps, running.wire.gateway, at)
            assert await running.send(3) == 3
            assert set(await plane.verify()) == {told}
            assert await plane.verify() == []
            assert not plane.refused
            assert near.stands_at(0)
            before = await running.diverted()
            assert await running.send(3) == 3
            assert await running.diverted() == before + 3

    at_the_gateway(attaching, scenario)


def test_where_something_of_others_stands_the_interface_is_left_alone(
    attaching: str,
) -> None:
    """Found when it is looked again, and over when that is gone."""
    hook = "type filter hook ingress device gate0 priority 0;"
    matching = "protocol ip u32 match u8 0 0 classid 1:1"
    ways = (
        (
            [f"nft 'table netdev own {{ chain c {{ {hook} }}; }}'"],
            "nft delete table netdev own",
            "netdev own c",
        ),
        (
            [
                "tc qdisc add dev gate0 clsact || tc qdisc show dev gate0 clsact",
                f"tc filter add dev gate0 egress {matching}",
            ],
            "tc qdisc del dev gate0 clsact",
            "tc filters",
        ),
    )

    async def scenario(running: Running) -> None:
        plane, gateway = running.plane, running.wire.gateway
        await plane.throttle([flow()])
        await plane.rearm()
        for put, take, told in ways:
            await running.send(3)
            before = await running.diverted()
            await asyncio.to_thread(gateway.run, "sh", "-ec", "\n".join(put))
            await plane.verify()
            assert told in plane.refused["gate0"]
            assert await running.send(3) == 3
            assert await running.diverted() == before
            loaded = dict(running.steps.programs.hooks)
            await plane.verify()  # still there
            assert plane.refused
            await asyncio.to_thread(gateway.run, "sh", "-ec", take)
            await plane.verify()
            assert not plane.refused
            assert running.steps.programs.hooks == loaded  # none was made anew
            assert await running.send(3) == 3
            assert await running.diverted() == before + 3

    at_the_gateway(attaching, scenario)


async def noticed(running: Running, *, refused: bool) -> None:
    """Wait until somebody has looked; by the clock that is up to 30 seconds away."""
    deadline = time.monotonic() + 10
    while bool(running.plane.refused) is not refused:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    await asyncio.sleep(0.2)  # until what follows is done


def test_a_chain_that_comes_or_goes_is_noticed_at_once(attaching: str) -> None:
    """It would see slowed packets twice, until somebody looks."""
    hook = "type filter hook ingress device gate0 priority 0;"
    elsewhere = "type filter hook ingress device lo priority 0;"

    async def scenario(running: Running) -> None:
        gateway = running.wire.gateway
        await running.plane.throttle([flow()])
        await running.plane.rearm()
        for rules in (
            f"table netdev other {{ chain c {{ {elsewhere} }}; }}",
            f"table netdev own {{ chain c {{ {hook} }}; }}",
        ):
            assert not running.plane.refused
            await asyncio.to_thread(gateway.run, "nft", rules)
        await noticed(running, refused=True)
        before = await running.diverted()
        assert await running.send(3) == 3
        assert await running.diverted() == before
        await asyncio.to_thread(gateway.run, "nft", "delete table netdev own")
        await noticed(running, refused=False)
        assert await running.send(3) == 3
        assert await running.diverted() == before + 3

    at_the_gateway(attaching, scenario)


def test_an_interface_that_goes_and_comes_is_had_again(attaching: str) -> None:
    async def scenario(running: Running) -> None:
        plane, wire = running.plane, running.wire
        await plane.throttle([flow()])
        await plane.rearm()
        for words in (
            "link set gate0 down",
            "link set gate0 name gate1",
            "link set gate1 name gate0",
            "link set gate0 up",
        ):
            await asyncio.to_thread(wire.gateway.ip, words)
            await plane.verify()
        assert await running.send(3) == 3
        assert await running.diverted() == 3
        await asyncio.to_thread(wire.gateway.ip, "link del gate0")
        await plane.verify()
        await asyncio.to_thread(
            wire.host.ip,
            f"link add eth0 type veth peer name gate0 netns {wire.gateway.path}",
            f"addr add {HOST}/24 dev eth0",
            "link set eth0 up",
        )
        await asyncio.to_thread(
            wire.gateway.ip, f"addr add {GATEWAY}/24 dev gate0", "link set gate0 up"
        )
        await plane.verify()
        assert await running.send(3) == 3
        assert await running.diverted() == 6

    at_the_gateway(attaching, scenario)


def ear(address: str) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((address, PORTS[1]))
    made.settimeout(PATIENCE)
    return made


async def seconds_to_let_go(
    running: Running, words: str, which: Callable[[Announcement], bool]
) -> float:
    """From the kernel's word of what `ip` did until gate0 is let go.

    A control has that word, too. The kernel had our threads wait for a processor
    meanwhile: that is no part of it.
    """
    gateway, hooks = running.wire.gateway, running.steps._interfaces
    assert hooks is not None
    assert "gate0" in hooks._attached
    with announced.control(gateway) as beside:
        waiting = Waiting()
        task = asyncio.create_task(asyncio.to_thread(gateway.ip, words))
        async with asyncio.timeout(PATIENCE):
            while "gate0" in hooks._attached:
                waiting.look()
                await asyncio.sleep(0.002)
        when = time.monotonic()
        waited = waiting.look()
        await task
        told = await asyncio.to_thread(beside.first, which)
    return when - told.when - waited


def test_an_interface_that_is_moved_away_is_let_go_at_once(attaching: str) -> None:
    """In the other namespace a pair's index is nobody's, or somebody else's."""

    def gone(news: Announcement) -> bool:
        return news.what is What.LINK_GONE and named(news) == "gate0"

    async def scenario(running: Running) -> None:
        plane, wire = running.plane, running.wire
        await plane.throttle([flow()])
        await plane.rearm()
        assert await running.send(3) == 3
        with tempfile.TemporaryDirectory() as folder:
            other = Namespace("other", Path(folder))
            try:
                words = f"link set gate0 netns {other.path}"
                assert await seconds_to_let_go(running, words, gone) < AT_ONCE
                other.ip(f"addr add {GATEWAY}/24 dev gate0", "link set gate0 up")
                there = other.call(lambda: ear(GATEWAY))
                here = wire.host.call(lambda: mouth_of(HOST))
                with there, here:
                    for _ in range(5):
                        here.sendto(b"here", (GATEWAY, PORTS[1]))
                        await asyncio.to_thread(there.recv, 100)
            finally:
                other.close()
        assert await running.diverted() == 3

    at_the_gateway(attaching, scenario)


def named(news: Announcement) -> str:
    return news.link.name if news.link else ""


def mouth_of(address: str) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((address, PORTS[0]))
    return made


def test_an_interface_that_is_renamed_away_is_let_go_at_once(attaching: str) -> None:
    def renamed(news: Announcement) -> bool:
        return news.what is What.LINK and named(news) == "other0"

    async def scenario(running: Running) -> None:
        plane = running.plane
        await plane.throttle([flow()])
        await plane.rearm()
        words = "link set gate0 name other0"
        assert await seconds_to_let_go(running, words, renamed) < AT_ONCE
        assert await running.send(3) == 3
        assert await running.diverted() == 0

    at_the_gateway(attaching, scenario)


def test_what_is_urgent_waits_for_no_interfaces(attaching: str) -> None:
    """Each that is attached has the kernel wait for all its processors, twice."""
    many = tuple(f"many{number}" for number in range(60))

    async def scenario(running: Running) -> None:
        plane, gateway = running.plane, running.wire.gateway
        lines = "".join(f"link add {one} type veth peer name {one}p\n" for one in many)
        gateway.run("ip", "-batch", "-", stdin=lines)
        await plane.rearm()
        task = asyncio.create_task(
            plane.replace(replace(RULES, interfaces=("gate0", *many)))
        )
        waited = []
        while not task.done():
            begin = time.monotonic()
            await plane.rearm()
            waited.append(time.monotonic() - begin)
            await asyncio.sleep(0.002)
        await task
        assert not plane.refused
        hooks = running.steps._interfaces
        assert hooks is not None
        assert set(hooks._attached) == {"gate0", *many}
        # Where it waited for all of them it waited once, for more than all the others.
        assert len(waited) > len(many) / 15
        print(f"longest {1000 * max(waited):.0f} ms of {len(waited)}")  # noqa: T201

    at_the_gateway(attaching, scenario)


_IN_ANOTHER_TIME = ("unshare", "--time", "--monotonic", "86400", "--fork")


def test_it_is_refused_in_a_time_namespace(attaching: str) -> None:
    """What this process takes for three seconds would be a day."""
    with build() as wire:
        program = (*_IN_ANOTHER_TIME, *PYTHON, "-m", "tests.lab.programmed", attaching)
        done = subprocess.run(
            wire.gateway.command(program),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert "time namespace" in done.stderr
        assert done.stdout == ""
