# SPDX-License-Identifier: GPL-2.0-or-later
"""A live kernel makes of the table what it makes of the same rules written out plainly.

    va0 ══ vb0, hooked by the table
    va1 ══ vb1, hooked by the plain table: one question after the other

Odd packets of all sorts come in and go out by both, many of them with a verdict on
whatever flow a careless reader might take them for. Each carries a number where no rule
looks; what would be slowed or copied leaves its number in a set instead.

VPNGATE_LIVE_DISPATCH sets the number of packets a hook: 10,000 for the whole test.
"""

import json
import os
import socket
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from ipaddress import ip_network
from itertools import chain
from pathlib import Path
from random import Random
from typing import NamedTuple

from tests import rulesets
from tests.lab.namespaces import Namespace, wait_until
from tests.netns.test_signatures_live import install
from tests.unit.ruleset.oddities import numbered, odd_frames, readings
from tests.unit.ruleset.plain_table import plain_table
from vpngate.expressions import (
    Base,
    DynamicSet,
    Forward,
    Lookup,
    NamedCounter,
    Payload,
    SetMeta,
    SetOperation,
)
from vpngate.kernel.wire import elements
from vpngate.kernel.wire.channel import NETFILTER, Channel
from vpngate.kernel.wire.elements import Element
from vpngate.packets import Direction, Family, HookPoint
from vpngate.prefixes.intervals import Intervals
from vpngate.ruleset import Ruleset, matching, names
from vpngate.ruleset.composition import compose, hook_of
from vpngate.ruleset.table import DataType, Line, Nature, Set, Table

PACKETS = int(os.environ.get("VPNGATE_LIVE_DISPATCH", "3000"))
SEED = 23
TABLES = ("dispatched", "plain")
OUTSIDE, INSIDE = ("va0", "va1"), ("vb0", "vb1")  # of either link, by table
SLOWED, COPIED = NOTES = ("slowed", "copied")
# Where four bytes with the number stand, and where in them it is.
_NUMBER_AT = {Family.IPV4: (4, 0), Family.IPV6: (0, 2)}
_VERDICT = b"\x10\0\x01\0\1\0\0\0"  # a class, an ifb: nothing is sent there
_AT_ONCE = 2000  # elements
_LIVES = 600.0  # seconds


class Seen(NamedTuple):
    """What a table made of packets: numbers by note, and its counters."""

    noted: dict[str, set[int]]
    counted: dict[str, int]


def ruleset_of(number: int) -> Ruleset:
    return replace(
        rulesets.RULESET,
        table=TABLES[number],
        interfaces=(INSIDE[number],),
        max_flows=1 << 20,
    )


def noting(table: Table) -> Table:
    """The table with notes where packets would be slowed or copied."""
    sets = [
        Set(_noted(what, family), (DataType.IPV4_ADDR,), Nature.DYNAMIC, "numbers")
        for what in NOTES
        for family in Family
    ]
    sets = [replace(one, timeout=_LIVES, size=1 << 17) for one in sets]
    copies = {
        names.copies(point, signature.name): f"copied_{signature.name}"
        for point in HookPoint
        for signature in rulesets.RULESET.signatures
    }
    chains = []
    for one in table.chains:
        lines = tuple(map(_not_sent, one.lines))
        if one.name in copies:
            counted = Line((NamedCounter(copies[one.name]),), "")
            lines = (counted, *map(_copied, Family), Line((matching.ACCEPT,), ""))
        chains.append(replace(one, lines=lines))
    counters = (*table.counters, *sorted(set(copies.values())))
    return replace(
        table,
        sets=(*table.sets, *sets),
        counters=counters,
        chains=tuple(chains),
    )


def _noted(what: str, family: Family) -> str:
    return f"{what}_{family.label}"


def _copied(family: Family) -> Line:
    return Line((*matching.of_family(family), *_note(COPIED, family)), "")


def _note(what: str, family: Family) -> tuple[Payload, DynamicSet]:
    at, _ = _NUMBER_AT[family]
    note = DynamicSet(_noted(what, family), SetOperation.UPDATE, matching.KEY)
    return Payload(Base.NETWORK, at, 4, matching.KEY), note


def _not_sent(line: Line) -> Line:
    """The rule that would send a packet to an ifb notes its number instead."""
    if not any(isinstance(step, Forward) for step in line.rule):
        return line
    kept = (s for s in line.rule if not isinstance(s, Forward | SetMeta))
    (lookup,) = (s for s in line.rule if isinstance(s, Lookup))
    (family,) = (f for f in Family if lookup.set_name.endswith(f.label))
    rule = (*kept, *_note(SLOWED, family), matching.ACCEPT)
    return replace(line, rule=rule)


def contents(frames: dict[HookPoint, list[bytes]]) -> list[tuple[str, list[Element]]]:
    """Verdicts by map: on half of the flows that any frame might be taken for."""
    random = Random(SEED)
    keys: dict[str, set[bytes]] = {}
    for direction in Direction:
        for frame in frames[hook_of(direction, rulesets.RULESET)]:
            for family, addresses, ports in readings(frame):
                for carrier in rulesets.RULESET.carriers:
                    transport = carrier.transport
                    name = names.verdict_map(direction, family, transport)
                    key = addresses + (ports if transport.has_ports else b"")
                    if random.random() < 0.5:
                        keys.setdefault(name, set()).add(key)
    return [
        (name, [Element(key, _LIVES, _VERDICT) for key in sorted(those)])
        for name, those in keys.items()
    ]


def registered(frames: dict[HookPoint, list[bytes]]) -> Intervals:
    """One in eight of the addresses that any frame might be from or to."""
    ends = {
        addresses[at : at + family.width]
        for frame in frames[HookPoint.INGRESS] + frames[HookPoint.EGRESS]
        for family, addresses, _ in readings(frame)
        for at in (0, family.width)
    }
    some = Random(SEED).sample(sorted(ends), len(ends) // 8)
    return Intervals.of_prefixes(str(ip_network((end, 8 * len(end)))) for end in some)


def fill(
    channel: Channel,
    table: str,
    verdicts: Sequence[tuple[str, list[Element]]],
    spared: Intervals,
) -> None:
    armed = [Element(key, _LIVES) for key in matching.ETHERTYPE.values()]
    for name, those in ((names.ARMED, armed), *verdicts):
        for start in range(0, len(those), _AT_ONCE):
            some = those[start : start + _AT_ONCE]
            channel.commit(elements.add(table, name, some))
    for family in Family:
        name = names.spared_set(family, 1)
        channel.commit(elements.add_intervals(table, name, spared.of(family)))


def send(devices: Sequence[str], frames: Sequence[bytes]) -> None:
    for device in devices:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
            sender.bind((device, 0))
            for frame in frames:
                sender.send(frame)


def counters(table: str) -> dict[str, int]:
    command = ["nft", "--json", "list", "counters", "table", "netdev", table]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    listed = (entry.get("counter") for entry in json.loads(done.stdout)["nftables"])
    return {one["name"]: int(one["packets"]) for one in listed if one}


def seen(channel: Channel, table: str) -> Seen:
    noted = {}
    for what in NOTES:
        for family in Family:
            _, at = _NUMBER_AT[family]
            name = _noted(what, family)
            noted[name] = {
                int.from_bytes(key[at : at + 2])
                for answer in channel.dump(elements.get_all(table, name))
                for key in elements.keys_of(answer)
            }
    return Seen(noted, counters(table))


def made_of(frames: dict[HookPoint, list[bytes]]) -> list[Seen]:
    """What the table and the plain one make of the frames at each hook."""
    verdicts, spared = contents(frames), registered(frames)
    tables = [noting(compose(ruleset_of(0))), noting(plain_table(ruleset_of(1)))]
    channel = Channel(NETFILTER)

    def all_came() -> bool:
        return all(
            counters(table)[names.traffic_counter(direction)]
            == len(frames[hook_of(direction, rulesets.RULESET)])
            for table in TABLES
            for direction in Direction
        )

    try:
        for table in tables:
            install(channel, table)
            fill(channel, table.name, verdicts, spared)
        send(OUTSIDE, frames[HookPoint.INGRESS])
        send(INSIDE, frames[HookPoint.EGRESS])
        wait_until(all_came, "the last frame")
        return [seen(channel, table.name) for table in tables]
    finally:
        channel.close()


def test_the_table_does_what_its_rules_would_do_written_out(tmp_path: Path) -> None:
    signatures = rulesets.RULESET.signatures
    frames = {
        point: [
            numbered(1 + number + first * PACKETS, frame)
            for number, frame in enumerate(
                odd_frames(signatures, PACKETS, SEED + first)
            )
        ]
        for first, point in enumerate(HookPoint)
    }
    namespace = Namespace("odd", tmp_path)
    try:
        namespace.sysctl("net.ipv6.conf.default.disable_ipv6", 1)  # says nothing itself
        for outside, inside in zip(OUTSIDE, INSIDE, strict=True):
            namespace.ip(
                f"link add {outside} mtu 9000 type veth peer name {inside} mtu 9000",
                f"link set {outside} up",
                f"link set {inside} up",
            )
        table, plain = namespace.call(partial(made_of, frames))
    finally:
        namespace.close()
    sent = dict(enumerate(chain.from_iterable(frames.values()), start=1))
    for name, numbers in plain.noted.items():
        differ = [sent[number].hex() for number in sorted(table.noted[name] ^ numbers)]
        assert not differ, f"seed {SEED}, {name}: {differ[:9]}"
        assert numbers, f"seed {SEED}: no packet was {name}"
    assert table.counted == plain.counted
    assert all(plain.counted[names.spared_counter(family)] for family in Family)
