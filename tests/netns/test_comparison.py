# SPDX-License-Identifier: GPL-2.0-or-later
"""A full comparison of spared intervals finds whatever differs in the kernel."""

import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest

from tests.lab import spoiled
from tests.lab.daemon import HARNESS, VPNGATE, Daemon, daemon, enforcing_settings
from tests.lab.namespaces import PATIENCE
from tests.lab.plane import RULESET, in_gateway
from tests.lab.topology import Lab
from vpngate.kernel.bpf_steps import BpfSteps
from vpngate.kernel.live import LiveDataPlane
from vpngate.kernel.table.readback import about, in_steps
from vpngate.kernel.wire import elements
from vpngate.packets import Family
from vpngate.prefixes.intervals import Intervals
from vpngate.ruleset import names

LAST, LAST_IPV6 = "255.255.255.255/32", f"{'ffff:' * 7}ffff/128"
# More than one step; both ends of the address space among them.
_SPARED = Intervals.of_prefixes(
    [
        "0.0.0.0/32",
        LAST,
        *(f"10.{n >> 8}.{n & 255}.0/25" for n in range(1200)),
        *(f"2001:db8:{n:x}::/48" for n in range(0, 1400, 2)),
        "::/128",
        LAST_IPV6,
    ]
)
FULL = replace(RULESET, spared=_SPARED)
_EQUAL = {"ipv4": 0, "ipv6": 0}


@dataclass(frozen=True)
class Meddling:
    """What somebody does to the set of a family: prefixes taken out, others put in.

    `merged` intervals are other ones then where those that touch are one, as they are
    in the arrays of programs.
    """

    family: Family
    out: tuple[str, ...]
    into: tuple[str, ...] = ()
    merged: int = 1


async def answers_are_right(plane: LiveDataPlane, family: Family) -> bool:
    """Whether the kernel is right about all ends, their neighbours, and some within."""
    sets = plane._steps.spared
    first, last = sets.held.of(family)
    within = first | np.array([0] * (family.width - 1) + [64], dtype=np.uint8)
    rows = np.concatenate([about(first, last), within])
    right = [await plane._do(sets.agrees, family, few) for few in in_steps(rows)]
    return all(right)


def meddle(plane: LiveDataPlane, meddling: Meddling) -> None:
    """Change the kernel's set behind the data plane's back, as its owner."""
    steps = plane._steps
    out, into = map(Intervals.of_prefixes, (meddling.out, meddling.into))
    if isinstance(steps, BpfSteps):
        spoiled.spare_instead(steps, steps.spared.held.difference(out).union(into))
        return
    table, family = steps.table, meddling.family
    name = names.spared_set(family, steps.spared.asked)
    for few, change in (
        (out.of(family), elements.delete_intervals),
        (into.of(family), elements.add_intervals),
    ):
        if len(few):
            table.commit(change(table.name, name, few))


def test_what_is_as_it_should_be_is_equal(lab: Lab) -> None:
    async def scenario(plane: LiveDataPlane) -> None:
        await plane.start(FULL)
        found = await plane.compare()
        assert found.equal
        assert found.compared == {"ipv4": 1202, "ipv6": 702}
        assert found.surplus in (_EQUAL, {"ipv4": None, "ipv6": None})
        await plane.replace(replace(RULESET, spared=Intervals.empty()))
        found = await plane.compare()
        assert found.equal
        assert found.compared == _EQUAL

    in_gateway(lab, scenario)


@pytest.mark.parametrize("last", ["255.255.255.254/32", "255.255.255.254/31"])
def test_what_ends_next_to_the_highest_address_is_told_from_it(
    lab: Lab, last: str
) -> None:
    """The arrays of programs are filled up with the highest address."""

    async def scenario(plane: LiveDataPlane) -> None:
        spared = Intervals.of_prefixes([last, f"{'ffff:' * 7}fffe/128"])
        await plane.start(replace(RULESET, spared=spared))
        assert (await plane.compare()).equal
        assert await plane.verify() == []

    in_gateway(lab, scenario)


@pytest.mark.parametrize(
    "meddling",
    [
        pytest.param(Meddling(Family.IPV4, ("10.3.7.0/25",)), id="one is missing"),
        pytest.param(Meddling(Family.IPV4, ("0.0.0.0/32",)), id="the first is missing"),
        pytest.param(Meddling(Family.IPV4, (LAST,)), id="the last is missing"),
        pytest.param(
            Meddling(Family.IPV4, ("10.3.7.0/25",), ("10.3.7.0/26", "10.3.7.96/27")),
            id="one has a hole",
        ),
        pytest.param(
            Meddling(Family.IPV4, ("10.3.7.0/25",), ("10.3.7.0/24",), merged=2),
            id="two have grown together",
        ),
        pytest.param(
            Meddling(Family.IPV6, ("2001:db8:100::/48",), ("2001:db8:100:1::/64",)),
            id="one begins later",
        ),
    ],
)
def test_what_differs_is_found_and_put_right(lab: Lab, meddling: Meddling) -> None:
    async def scenario(plane: LiveDataPlane) -> None:
        await plane.start(FULL)
        meddle(plane, meddling)
        assert not await answers_are_right(plane, meddling.family)
        found = await plane.compare()
        by_programs = isinstance(plane._steps, BpfSteps)
        wrong = meddling.merged if by_programs else 1
        assert not found.equal
        assert found.differing == {**_EQUAL, meddling.family.label: wrong}
        assert "spared" in await plane.verify()
        assert (await plane.compare()).equal
        assert await answers_are_right(plane, meddling.family)

    in_gateway(lab, scenario)


def test_one_too_many_in_a_gap_is_counted(lab: Lab) -> None:
    async def scenario(plane: LiveDataPlane) -> None:
        await plane.start(FULL)
        if None in (await plane.compare()).surplus.values():
            pytest.skip("this kernel does not count the elements of a set")
        meddle(plane, Meddling(Family.IPV4, (), ("192.0.2.0/24",)))
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
