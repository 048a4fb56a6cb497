# SPDX-License-Identifier: GPL-2.0-or-later
"""The order verdict, armed, spared, act: for every kind of packet, by the programs.

The cases and what should become of each are those that nftables' rules are held to
(`tests/unit/ruleset/test_promise.py`): so both planes mean the same. The kernel runs
the programs over each packet, at an interface behind which its source lives, or not.

VPNGATE_EVERY_VALUE has all cases tried, which takes minutes.
"""

import itertools
import os
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests import rulesets
from tests.lab.bpf_plane import TriedPlane
from tests.lab.bpf_programs import can_be_tried
from tests.lab.namespaces import Namespace
from tests.unit.ruleset.cases import Case, cases
from tests.unit.ruleset.contents import CLASS, _spared, _spent, _verdicts
from tests.unit.ruleset.promise import promised
from vpngate.kernel.bpf.assembly import ActionCode
from vpngate.kernel.bpf.maps import index
from vpngate.packets import Direction, Family, HookPoint, Transport
from vpngate.prefixes.intervals import Bounds, Intervals
from vpngate.prefixes.rows import rows_of
from vpngate.ruleset import Ruleset, names

# One case in so many; all of them in the long form.
ONE_IN = 1 if os.environ.get("VPNGATE_EVERY_VALUE") else 9
SPARED_ARMED = {"both": True, "its own": True, "the other": False, "neither": False}


@pytest.fixture(scope="module")
def namespace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Namespace]:
    """`here` is where every end lives, `there` where none does."""
    made = Namespace("promise", tmp_path_factory.mktemp("promise"))
    for name, other in (("here", "peer0"), ("there", "peer1")):
        made.ip(
            f"link add {name} type veth peer name {other}",
            f"link set {name} up",
            f"link set {other} up",
        )
    made.ip("addr add 10.9.9.1/24 dev here", "addr add fd99::1/64 dev here nodad")
    made.sysctl("net.ipv4.ip_forward", 1)
    made.sysctl("net.ipv6.conf.all.forwarding", 1)
    made.ip(
        "route add 100.64.0.0/16 dev here",
        "route add 198.51.100.0/24 dev here",
        "route add 2000::/3 dev here",
    )
    yield made
    made.close()


def of_case(case: Case, which: str) -> Intervals:
    """Whom the case has protected, or registered."""
    bounds: dict[Family, list[tuple[bytes, bytes]]] = {f: [] for f in Family}
    for name, interval in _spared(case):
        for family in Family:
            wanted = (
                names.protected_set(family)
                if which == "protected"
                else names.spared_set(family, 1)
            )
            if name == wanted and interval.first <= interval.last:
                bounds[family].append((interval.first, interval.last))
    return Intervals.of_bounds(
        {
            family: Bounds(
                rows_of(b"".join(first for first, _ in those), family),
                rows_of(b"".join(last for _, last in those), family),
            )
            for family, those in bounds.items()
        }
    )


def grouped(ruleset: Ruleset) -> Iterator[tuple[Intervals, Intervals, list[Case]]]:
    """Cases by who is registered and protected: programs are made anew for each."""

    def key(case: Case) -> tuple[object, ...]:
        if case.spared == "nobody":
            return ("", "", 0, "", "")
        misread = case.kind.name if case.spared.startswith("what") else ""
        return case.direction, case.family.label, case.protocol, case.spared, misread

    some = itertools.islice(cases(ruleset), 0, None, ONE_IN)
    every = sorted(some, key=lambda one: tuple(map(str, key(one))))
    for _, those in itertools.groupby(every, key):
        own = list(those)
        yield of_case(own[0], "registered"), of_case(own[0], "protected"), own


def flow_key(name: str, key: bytes) -> tuple[Direction, Family, bytes]:
    direction, transport, family = name.split("_")
    of = next(one for one in Family if one.label == family)
    number = next(t for t in Transport if t.label == transport)
    padded = key.ljust(2 * of.width + 4, b"\0") + struct.pack("=I", number)
    return Direction(direction), of, padded


def lay_out(plane: TriedPlane, case: Case) -> None:
    plane.clear_verdicts()
    plane.arm((1 << 63) if SPARED_ARMED[case.armed] else 0)
    for name, key, value in _verdicts(case):
        plane.verdict(*flow_key(name, key), value)
    for limits in (*plane.maps.addresses.values(), plane.maps.pairs):
        while (known := limits.first()) is not None:
            limits.remove(known)
    late = plane.due_late(time.monotonic_ns())
    for name, key in _spent(case):
        if name.startswith("sampled_"):
            number = next(
                n
                for n, one in enumerate(plane.told.signatures)
                if name == names.sampled_set(one.name, case.family)
            )
            plane.maps.pairs.put(key.ljust(32, b"\0") + struct.pack("=Q", number), late)
        elif case.family is Family.IPV4 or not any(key[8:]):  # of IPv6, a network
            end = "destination" if "_destination_" in name else "source"
            point = HookPoint.INGRESS if "_ingress_" in name else HookPoint.EGRESS
            packed = key[:8].ljust(8, b"\0") + struct.pack("=I", case.family)
            plane.maps.addresses[point, end].put(packed, late)
    due = int.from_bytes(late, "little") if case.spent == "by its signature" else 0
    for number in range(len(plane.told.signatures)):
        plane.limit(case.point, number, 1000, due)


def fares_well(plane: TriedPlane, case: Case, interfaces: tuple[int, int]) -> bool:
    lay_out(plane, case)
    before, filled = plane.counted(), plane.produced
    here = interfaces[not case.lives]
    trial = plane.meet(case.point, case.kind.frame, here)
    wanted = promised(case)
    slowed = trial.returned == ActionCode.REDIRECT
    assert slowed or trial.returned == ActionCode.NEXT
    copied = plane.produced > filled
    same = plane.counted() - before == wanted.counted
    same &= slowed == (wanted.device is not None) and copied == bool(wanted.copied)
    if slowed:
        same &= trial.priority == int.from_bytes(CLASS, "little")
    return same


@pytest.mark.parametrize("subscriber_side", [True, False])
@pytest.mark.parametrize("enforce", [True, False], ids=["enforcing", "observing"])
def test_every_packet_fares_as_promised(
    namespace: Namespace, *, enforce: bool, subscriber_side: bool
) -> None:
    ruleset = replace(
        rulesets.RULESET, enforce=enforce, subscriber_side=subscriber_side
    )
    wrong: list[Case] = []

    def run() -> int:
        tried = 0
        here = socket.if_nametoindex("here"), socket.if_nametoindex("there")
        with TriedPlane(ruleset, Intervals.empty()) as plane:
            for registered, protected, some in grouped(ruleset):
                plane.spare(registered)
                plane.few.put(0, protected)
                for case in some:
                    # A VLAN's tag is off before a hook, which no trial does.
                    if case.kind.name == "VLAN" or not can_be_tried(case.kind.frame):
                        continue
                    tried += 1
                    if not fares_well(plane, case, here):
                        wrong.append(case)
        return tried

    assert namespace.call(run) > 4000 // ONE_IN // (1 if enforce else 9)
    assert not wrong, f"{len(wrong)}:\n" + "\n".join(map(str, wrong[:20]))


def test_nobody_is_slowed_where_a_small_set_cannot_be_asked(
    namespace: Namespace,
) -> None:
    """Whoever is protected is in it: the large set does not tell."""
    case = next(
        one
        for one in cases(rulesets.RULESET)
        if one.spared == "nobody"
        and promised(one).device is not None
        and one.kind.name != "VLAN"
        and can_be_tried(one.kind.frame)
    )

    def run() -> list[int]:
        here = socket.if_nametoindex("here"), socket.if_nametoindex("there")
        told = []
        with TriedPlane(rulesets.RULESET, Intervals.empty()) as plane:
            for _ in range(2):
                lay_out(plane, case)
                interface = here[not case.lives]
                trial = plane.meet(case.point, case.kind.frame, interface)
                told.append(trial.returned)
                plane.few.outer.remove(index(0))
        return told

    assert namespace.call(run) == [ActionCode.REDIRECT, ActionCode.NEXT]
