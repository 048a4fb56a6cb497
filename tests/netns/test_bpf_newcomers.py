# SPDX-License-Identifier: GPL-2.0-or-later
"""What is new at a gateway is asked before programs stand there, and just afterwards.

With many interfaces each has its turn to be asked long after: whoever comes under the
name of another, or has got a filter meanwhile, must not wait for that.
"""

import asyncio
import socket
from typing import Any

import pytest

from tests.lab.attachings import over_each
from tests.lab.standing import programs_at
from tests.netns.test_bpf_filters import until
from tests.netns.test_bpf_plane import Running, at_the_gateway
from tests.netns.test_bpf_urgent import lay, many_of, with_all
from vpngate.kernel.programmed import eligible

pytestmark = over_each

ANY = "protocol ip u32 match u8 0 0 classid 1:1"


@pytest.fixture(autouse=True)
def long_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 40 interfaces each has its turn as late as of 640 otherwise."""
    monkeypatch.setattr(eligible, "_ASKED_AT_ONCE", 2)


def test_another_interface_of_that_name_is_asked_before_it_is_had(
    attaching: str,
) -> None:
    """It came while a reload had everything else wait; its turn would be long after."""

    async def scenario(running: Running) -> None:
        plane, gateway = running.plane, running.wire.gateway
        many = many_of(gateway, 40)
        await plane.replace(with_all(*many))
        await plane.verify()
        gone = "many030"
        async with plane._changing:
            lines = f"link del {gone}\nlink add {gone} type ifb\nlink set {gone} up\n"
            await asyncio.to_thread(gateway.run, "ip", "-batch", "-", stdin=lines)
        await until(lambda: gone in plane.refused, "it is left alone")
        assert programs_at(socket.if_nametoindex(gone)) == []

    at_the_gateway(attaching, scenario)


def test_what_comes_to_an_interface_before_it_is_had_is_found_at_once(
    attaching: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A filter between the question and the programs is announced to nobody."""
    monkeypatch.setattr(eligible, "_ASKED_AT_ONCE", 2)
    late = "late0"

    async def scenario(running: Running) -> None:
        plane, steps, gateway = running.plane, running.steps, running.wire.gateway
        many = many_of(gateway, 40)
        await plane.replace(with_all(*many))
        put_up, done = steps._put_up, list[bool]()

        def with_a_filter(*args: Any) -> None:
            if not done:  # it has been asked by now
                done.append(True)
                gateway.run("tc", "qdisc", "add", "dev", late, "clsact")
                gateway.run(*f"tc filter add dev {late} egress {ANY}".split())
            put_up(*args)

        lay(gateway, late)
        monkeypatch.setattr(steps, "_put_up", with_a_filter)
        await plane.replace(with_all(late, *many))
        await until(lambda: late in plane.refused, "it is left alone")
        assert done

    at_the_gateway(attaching, scenario)
