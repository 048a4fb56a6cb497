# SPDX-License-Identifier: GPL-2.0-or-later
"""What each step of the table costs ordinary traffic, and how little it could be.

How it is measured is said in `bench.ports`. Each port has the table up to one more
step than the one before it; all of them take turns in one run, and a figure is what the
step adds. Verdicts are 100,000, registered prefixes make no difference. The floor is
one rule at the hook that asks for a verdict on UDP, of whatever packet: no counter, no
family, no transport, no signature. Beside these: the whole table where no verdict
lives, and the same without asking for one. The latter is what stands at a gateway that
has slowed nobody for a minute, and the difference is why (`verdict_lines.py`).

Run as root, with gcc.
"""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from bench.contract import Effort, Figure, Row, condensed
from bench.kernel import flow, ruleset
from bench.ports import BARE, DEAF, HOW, Gateway, Measure, Slices, gateway
from bench.traffic import KINDS
from vpngate.expressions import ChainVerdict, Lookup, Rule
from vpngate.kernel.wire import elements, messages
from vpngate.kernel.wire.channel import NETFILTER, Channel
from vpngate.kernel.wire.elements import Element
from vpngate.packets import Direction, Family, HookPoint, Transport
from vpngate.prefixes.intervals import Intervals
from vpngate.ruleset import Ruleset, matching, names
from vpngate.ruleset.composition import compose, verdict_lines
from vpngate.ruleset.table import Chain, Line, Table

# In the order in which a packet meets them; by port, and what is called so.
STEPS = {
    "hook": "a chain at the hook, empty",
    "counter": "the counter of all traffic",
    "dispatch": "which family and transport",
    "key": "ends and ports, loaded",
    "verdict": "is there a verdict?",
    "whole": "signatures: the whole table",
}
# Beside them; what each adds to a bare port.
OTHERS = {
    "floor": "the floor: one rule, a verdict on UDP",
    "observing": "observing: the whole table",
    "idle": "enforcing: the whole table, asking though no verdict lives",
    "unasked": "the same as it stands while none does: without asking",
}
_POINT, _DIRECTION = HookPoint.INGRESS, Direction.UPLOAD
_UDP = names.verdict_map(_DIRECTION, Family.IPV4, Transport.UDP)
_TCP = names.verdict_map(_DIRECTION, Family.IPV4, Transport.TCP)
_CLASS_AND_IFB = bytes(4) + b"\1\0\0\0"
_AT_ONCE = 5000  # elements
_LIVES = 3600.0  # seconds


def tables(rules: Ruleset) -> Iterator[tuple[str, Table]]:
    """The table up to each step, and the others, by name: what a packet may meet."""
    whole = compose(rules)
    for name, table in _tables(rules, whole):
        yield name, _reached(table)


def _tables(rules: Ruleset, whole: Table) -> Iterator[tuple[str, Table]]:
    for name, before in zip(STEPS, range(len(STEPS)), strict=True):
        chains = tuple(_up_to(before, chain) for chain in whole.chains)
        yield name, replace(whole, chains=chains)
    asked = (*matching.flow(Family.IPV4, Transport.UDP), _lookup(_UDP))
    yield "floor", _at_hook(whole, (Line(asked, "a verdict?"),))
    yield "observing", compose(replace(rules, enforce=False))
    yield "idle", whole
    asking = verdict_lines(rules)
    unasked = tuple(
        replace(one, lines=one.lines[1:]) if one.name in asking else one
        for one in whole.chains
    )
    yield "unasked", replace(whole, chains=unasked)


def _reached(table: Table) -> Table:
    """The table without chains that no hook leads to."""
    chains = {chain.name: chain for chain in table.chains}
    found: set[str] = set()
    waiting = [chain.name for chain in table.chains if chain.hook]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += _led_to(chains[name])
    kept = tuple(chain for chain in table.chains if chain.name in found)
    return replace(table, chains=kept)


def _led_to(chain: Chain) -> Iterator[str]:
    for line in chain.lines:
        for step in line.rule:
            if isinstance(step, ChainVerdict) and step.chain is not None:
                yield step.chain


def _lookup(verdicts: str) -> Lookup:
    return Lookup(verdicts, matching.KEY, matching.VALUE)


def _at_hook(table: Table, lines: tuple[Line, ...]) -> Table:
    return replace(
        table,
        chains=tuple(
            replace(one, lines=lines) if one.hook else one for one in table.chains
        ),
    )


def _up_to(step: int, chain: Chain) -> Chain:
    """A chain of the table, without what comes after a step."""
    hook, counter, dispatch, key, verdict, _ = range(len(STEPS))
    lines: Sequence[Line] = chain.lines
    if chain.hook and step <= counter:
        lines = lines[: 0 if step == hook else 1]
    if chain.name in _FLOWS and step <= verdict:
        lines = [] if step <= dispatch else lines[:1]
        if step == key:
            lines = [replace(line, rule=_loads(line)) for line in lines]
    return replace(chain, lines=tuple(lines))


def _loads(line: Line) -> Rule:
    at = next(n for n, step in enumerate(line.rule) if isinstance(step, Lookup))
    return line.rule[:at]


_FLOWS = {
    names.flows(_POINT, transport, family)
    for transport in Transport
    for family in Family
}


class Tables:
    """The tables of a gateway; they go with this."""

    def __init__(self, at: Gateway) -> None:
        self._channel = at.inner.call(lambda: Channel(NETFILTER))

    def close(self) -> None:
        """Let the kernel remove them."""
        self._channel.close()

    def put(self, table: Table, verdicts: int) -> None:
        """A table, with so many verdicts in each of two maps."""
        changes = [
            messages.new_table(table.name),
            *(messages.new_set(table.name, each) for each in table.sets),
            *(messages.new_counter(table.name, each) for each in table.counters),
            *messages.new_chains(table.name, table.chains),
        ]
        self._channel.commit(changes)
        for name in (_UDP, _TCP):
            for start in range(0, verdicts, _AT_ONCE):
                some = range(start, min(start + _AT_ONCE, verdicts))
                those = [Element(_key(n), _LIVES, _CLASS_AND_IFB) for n in some]
                self._channel.commit(elements.add(table.name, name, those))


def _key(number: int) -> bytes:
    one = flow(number)
    ends = (one.subscriber, one.remote)
    ports = b"".join(end.port.to_bytes(2) for end in ends)
    return b"".join(end.address for end in ends) + ports


def figures(found: Slices) -> Iterator[Figure]:
    """What each step adds to the one before it, and the others to a bare port."""
    befores = dict(zip(STEPS, (BARE, *STEPS), strict=False))
    for kind in KINDS:
        forwarding = condensed((found[kind, BARE] - found[kind, DEAF]).tolist())
        for port, what in (STEPS | OTHERS).items():
            before = befores.get(port, BARE)
            yield Figure(
                f"{kind}, {what}",
                "ns a packet",
                "adds",
                condensed((found[kind, port] - found[kind, before]).tolist()),
                "forwarding by a bare port",
                forwarding,
            )


def measured(effort: Effort) -> Iterator[Figure]:
    """All ports in turn."""
    verdicts = effort.pick(whole=100_000, quick=20_000, tiny=100)
    seconds = effort.pick(whole=30.0, quick=6.0, tiny=1.0)
    rules = replace(ruleset(Intervals.empty()), max_flows=1 << 20)
    ports = (*STEPS, *OTHERS)
    with (
        tempfile.TemporaryDirectory() as name,
        gateway(Path(name), (*ports, BARE)) as at,
    ):
        made = Tables(at)
        try:
            for port, table in tables(rules):
                alive = 0 if port in ("observing", "idle", "unasked") else verdicts
                made.put(_there(table, port, at.device(port)), alive)
            measure = Measure(at, Path(name))
            yield from figures(measure.slices(seconds, (*ports, BARE)))
        finally:
            made.close()


def _there(table: Table, name: str, device: str) -> Table:
    """The table under another name, at that device."""
    return replace(
        table,
        name=name,
        chains=tuple(
            replace(one, hook=replace(one.hook, devices=(device,))) if one.hook else one
            for one in table.chains
        ),
    )


ROW = Row(
    "forward_steps",
    "What each step of the table costs an ordinary packet",
    measured,
    seconds=60,
    root=True,
    about=f"{HOW} Each step has a port of its own, told beside the one before it; "
    "what is called a floor, observing or enforcing is told beside a bare port.",
)
