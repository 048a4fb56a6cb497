# SPDX-License-Identifier: GPL-2.0-or-later
"""A full comparison of spared intervals finds whatever differs in the kernel."""

import json
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest

from tests.lab.daemon import HARNESS, VPNGATE, Daemon, daemon, enforcing_settings
from tests.lab.namespaces import PATIENCE
from tests.lab.plane import RULESET, in_gateway
from tests.lab.topology import Lab
from vpngate.kernel.live import LiveDataPlane
from vpngate.kernel.table.readback import STEP, about, in_steps
from vpngate.kernel.wire import elements
from vpngate.kernel.wire.channel import Change
from vpngate.kernel.wire.failures import Unanswered
from vpngate.packets import Family
from vpngate.prefixes.intervals import Intervals
from vpngate.ruleset import names

# More than one step; both ends of the address space among them.
_SPARED = Intervals.of_prefixes(
    [
        "0.0.0.0/32",
        "255.255.255.255/32",
        *(f"10.{n >> 8}.{n & 255}.0/25" for n in range(1200)),
        *(f"2001:db8:{n:x}::/48" for n in range(0, 1400, 2)),
        "::/128",
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128",
    ]
)
_FULL = replace(RULESET, spared=_SPARED)
_EQUAL = {"ipv4": 0, "ipv6": 0}

Meddling = Callable[[str, str], list[Change]]


def _meddle(plane: LiveDataPlane, family: Family, meddling: Meddling) -> None:
    """Change the kernel's set behind the data plane's back, as its owner."""
    table = plane._steps.table
    name = names.spared_set(family, plane._steps.spared.asked)
    table.commit(meddling(table.name, name))


def _without(family: Family, *prefixes: str) -> Meddling:
    few = Intervals.of_prefixes(prefixes).of(family)
    return lambda table, name: elements.delete_intervals(table, name, few)


def _with(family: Family, *prefixes: str) -> Meddling:
    few = Intervals.of_prefixes(prefixes).of(family)
    return lambda table, name: elements.add_intervals(table, name, few)


def test_what_is_as_it_should_be_is_equal(lab: Lab) -> None:
    async def scenario(plane: LiveDataPlane) -> None:
        await plane.start(_FULL)
        found = await plane.compare()
        assert found.equal
        assert found.compared == {"ipv4": 1202, "ipv6": 702}
        assert found.surplus in (_EQUAL, {"ipv4": None, "ipv6": None})
        await plane.replace(replace(RULESET, spared=Intervals.empty()))
        found = await plane.compare()
        assert found.equal
        assert found.compared == _EQUAL

    in_gateway(lab, scenario)


_APART = [
    pytest.param(
        Family.IPV4, [_without(Family.IPV4, "10.3.7.0/25")], id="one is missing"
    ),
    pytest.param(
        Family.IPV4,
        [_without(Family.IPV4, "0.0.0.0/32")],
        id="the first is missing",
    ),
    pytest.param(
        Family.IPV4,
        [_without(Family.IPV4, "255.255.255.255/32")],
        id="the last is missing",
    ),
    pytest.param(
        Family.IPV4,
        [
            _without(Family.IPV4, "10.3.7.0/25"),
            _with(Family.IPV4, "10.3.7.0/26", "10.3.7.96/27"),
        ],
        id="one has a hole",
    ),
    pytest.param(
        Family.IPV4,
        [_without(Family.IPV4, "10.3.7.0/25"), _with(Family.IPV4, "10.3.7.0/24")],
        id="two have grown together",
    ),
    pytest.param(
        Family.IPV6,
        [
            _without(Family.IPV6, "2001:db8:100::/48"),
            _with(Family.IPV6, "2001:db8:100:1::/64"),
        ],
        id="one begins later",
    ),
]


async def _answers_are_right(plane: LiveDataPlane, family: Family) -> bool:
    """Whether the kernel is right about all ends, their neighbours, and some within."""
    sets = plane._steps.spared
    first, last = sets.held.of(family)
    within = first | np.array([0] * (family.width - 1) + [64], dtype=np.uint8)
    rows = np.concatenate([about(first, last), within])
    right = [await plane._do(sets.agrees, family, few) for few in in_steps(rows)]
    return all(right)


@pytest.mark.parametrize(("family", "steps"), _APART)
def test_what_differs_is_found_and_put_right(
    lab: Lab, family: Family, steps: list[Meddling]
) -> None:
    async def scenario(plane: LiveDataPlane) -> None:
        await plane.start(_FULL)
        for step in steps:
            _meddle(plane, family, step)
        assert not await _answers_are_right(plane, family)
        found = await plane.compare()
        assert not found.equal
        assert found.differing == {**_EQUAL, family.label: 1}
        assert "spared" in await plane.verify()
        assert (await plane.compare()).equal
        assert await _answers_are_right(plane, family)

    in_gateway(lab, scenario)


def test_a_set_that_is_gone_spares_nobody(lab: Lab) -> None:
    async def scenario(plane: LiveDataPlane) -> None:
        await plane.start(_FULL)
        sets = plane._steps.spared
        rows = about(*sets.held.of(Family.IPV4))[:STEP]
        for name, held in (("nowhere", False), (sets.cut.names(Family.IPV4)[0], True)):
            found = plane._do(plane._steps.table.holds, [name] * len(rows), rows)
            assert (await found).tolist() == [held] * len(rows)

    in_gateway(lab, scenario)


def test_answers_that_were_lost_or_left_are_not_taken_for_others(lab: Lab) -> None:
    """Each look is by the answers to its own questions, whatever became of the last."""

    async def scenario(plane: LiveDataPlane) -> None:
        await plane.start(_FULL)
        table = plane._steps.table
        channel = table._channel
        name = plane._steps.spared.cut.names(Family.IPV4)[0]
        held = elements.get(table.name, name, bytes([10, 3, 7, 0]))
        _meddle(plane, Family.IPV4, _without(Family.IPV4, "10.3.7.0/25"))
        await plane._do(channel._send, [(held, 0)] * 300)  # and nobody reads them
        assert await _answers_are_right(plane, Family.IPV6)
        assert not await _answers_are_right(plane, Family.IPV4)
        channel._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 0)  # the least
        with pytest.raises(Unanswered, match="No buffer space"):
            await plane.verify()
        assert plane._sparing.disagreements == 0  # not known is not wrong
        channel._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        assert await _answers_are_right(plane, Family.IPV6)
        assert not await _answers_are_right(plane, Family.IPV4)
        assert not (await plane.compare()).equal
        assert "spared" in await plane.verify()
        assert await _answers_are_right(plane, Family.IPV4)

    in_gateway(lab, scenario)


def test_one_too_many_in_a_gap_is_counted(lab: Lab) -> None:
    async def scenario(plane: LiveDataPlane) -> None:
        await plane.start(_FULL)
        if None in (await plane.compare()).surplus.values():
            pytest.skip("this kernel does not count the elements of a set")
        _meddle(plane, Family.IPV4, _with(Family.IPV4, "192.0.2.0/24"))
        found = await plane.compare()
        assert not found.equal
        assert found.differing == _EQUAL
        assert found.surplus == {"ipv4": 1, "ipv6": 0}
        assert await plane.verify() == ["spared"]
        assert (await plane.compare()).equal

    in_gateway(lab, scenario)


@pytest.fixture
def running(lab: Lab) -> Iterator[Daemon]:
    settings = enforcing_settings(lab, f"compared-{time.monotonic_ns()}")
    with daemon(lab.gateway, settings, HARNESS) as started:
        yield started


def _ask(running: Daemon) -> tuple[int, dict[str, tuple[str, str]]]:
    """What `doctor --kernel` says: exit status; weight and words by place."""
    files = ("--config", running.settings.config, "--socket", running.settings.socket)
    command = (VPNGATE, "doctor", *map(str, files), "--kernel", "--format", "json")
    done = subprocess.run(
        running.namespace.command(command),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.stderr == ""
    findings = json.loads(done.stdout)["findings"]
    return done.returncode, {
        each["where"]: (each["weight"], f"{each['what']}; {each['remedy']}")
        for each in findings
        if each["where"].startswith("kernel: spared")
    }


def test_the_doctor_has_the_daemon_compare_and_mend(running: Daemon) -> None:
    status, found = _ask(running)
    assert status == 0
    assert {weight for weight, _ in found.values()} == {"sound"}
    running.ask("lose_spared", prefix="203.0.113.0/24")
    status, found = _ask(running)
    assert status == 1
    weight, words = found["kernel: spared ipv4"]
    assert weight == "conflict"
    assert "1 of " in words
    assert "it has been put right" in words
    assert running.metric("vpngate_kernel_repairs_total", what="spared") == 1
    assert running.metric("vpngate_kernel_in_sync") == 1
    status, found = _ask(running)
    assert status == 0


def test_without_a_daemon_there_is_nothing_to_compare(lab: Lab) -> None:
    config = str(enforcing_settings(lab, "alone").config)
    done = subprocess.run(
        [VPNGATE, "doctor", "--kernel", "--config", config, "--socket", "/nowhere"],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == "vpngate: /nowhere: no daemon answers; is vpngate running?\n"
