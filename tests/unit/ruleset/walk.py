# SPDX-License-Identifier: GPL-2.0-or-later
"""A table walked packet by packet, in Python, at one moment.

Knows jumps and verdicts, sets and maps with what is in them, counters, copies, what
is written to a packet and where it is sent; limits, too, whose time stands still: a
limit lets its burst pass and then nothing. Written from the kernel's sources
(nft_do_chain, nft_lookup_eval, nft_dynset_eval, nft_limit_eval, nft_fwd_netdev_eval);
expressions that look at bytes are those of `signatures/netdev_hook.py`.
"""

import contextlib
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

from tests.unit.signatures.netdev_hook import Break, Packet, Registers
from vpngate import expressions as ex
from vpngate.expressions import VerdictCode
from vpngate.packets import HookPoint
from vpngate.ruleset import names
from vpngate.ruleset.table import Line, Nature, Table


class Passed(NamedTuple):
    """What became of one packet."""

    counted: Counter[str]  # by the name of the counter
    copied: int
    touched: tuple[tuple[str, bytes], ...]  # elements that rules add or refresh
    priority: bytes | None  # as it was written, if it was
    device: bytes | None  # where it was sent; None: on its way


class Interval(NamedTuple):
    """An element of an interval set; in a map of verdicts, with the way it leads."""

    first: bytes
    last: bytes
    leads: ex.ChainVerdict | None = None


@cache
def _packet(frame: bytes, point: HookPoint) -> Packet:
    return Packet(frame, point)


@dataclass
class Limited:
    """A limit, and what of its burst has been taken."""

    limit: ex.Limit
    taken: int = 0

    def passes(self) -> bool:
        beyond = self.taken >= self.limit.burst
        self.taken += not beyond
        return beyond is self.limit.over


class _Sent(Exception):
    """The packet is another device's."""


@dataclass
class _Mark:
    """What rules have done to the packet on its walk."""

    counted: Counter[str] = field(default_factory=Counter)
    copied: int = 0
    touched: list[tuple[str, bytes]] = field(default_factory=list)
    priority: bytes | None = None
    device: bytes | None = None


@dataclass
class Walk:
    """A table with what is in its sets, and what its packets have left in it.

    lives      what the kernel says of a packet's way back
    spent      whether the limits of rules, not of elements, have let their burst pass
    copied     packets, so far
    sets       addresses that are limited, by set
    intervals  elements of interval sets, by set
    elements   other elements and, in maps, their values, by set
    visited    the chains that were walked
    """

    table: Table
    lives: bool = True
    spent: bool = False
    copied: int = 0
    counters: Counter[str] = field(default_factory=Counter)
    sets: dict[str, dict[bytes, Limited]] = field(default_factory=dict)
    intervals: dict[str, list[Interval]] = field(default_factory=dict)
    elements: dict[str, dict[bytes, bytes]] = field(default_factory=dict)
    visited: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._chains = {chain.name: chain for chain in self.table.chains}
        self._sets = {one.name: one for one in self.table.sets}
        self._limits: dict[tuple[str, int], Limited] = {}
        self._packet = _Mark()

    def passes(self, point: HookPoint, frame: bytes) -> Passed:
        """What becomes of a packet at a hook."""
        self._packet = done = _Mark()
        with contextlib.suppress(_Sent):
            self._chain(names.base(point), _packet(frame, point))
        self.counters.update(done.counted)
        self.copied += done.copied
        return Passed(
            done.counted,
            done.copied,
            tuple(done.touched),
            done.priority,
            done.device,
        )

    def copies(self, point: HookPoint, frame: bytes) -> bool:
        """Whether a packet at a hook is copied."""
        return self.passes(point, frame).copied > 0

    def empty(self) -> None:
        """Forget all elements, and what the packets so far have left."""
        for content in (self.intervals, self.elements):
            content.clear()
        self.renew()
        self.visited.clear()

    def renew(self) -> None:
        """Forget what packets so far have had of limits."""
        self.sets.clear()
        self._limits.clear()

    def _chain(self, name: str, packet: Packet) -> bool:
        """Walk a chain; whether the packet's walk is over."""
        self.visited.add(name)
        for number, line in enumerate(self._chains[name].lines):
            verdict = self._rule((name, number), line, packet)
            if verdict is None:
                continue
            if verdict.code is VerdictCode.ACCEPT:
                return True
            if verdict.code is VerdictCode.RETURN:
                return False
            assert verdict.chain is not None
            over = self._chain(verdict.chain, packet)
            if over or verdict.code is VerdictCode.GOTO:
                return over
        return False

    def _rule(
        self, place: tuple[str, int], line: Line, packet: Packet
    ) -> ex.ChainVerdict | None:
        registers = Registers()
        try:
            for step in line.rule:
                if isinstance(step, ex.ChainVerdict):
                    return step
                if isinstance(step, ex.Lookup) and step.into == ex.VERDICT_REGISTER:
                    return self._leads(step, registers)
                self._step(place, step, packet, registers)
        except Break:
            pass
        return None

    def _step(
        self,
        place: tuple[str, int],
        step: ex.Expression,
        packet: Packet,
        registers: Registers,
    ) -> None:
        done = self._packet
        match step:
            case ex.NamedCounter(name):
                done.counted[name] += 1
            case ex.LogPacket():
                done.copied += 1
            case ex.ReversePathCheck(register):
                registers.store(register, bytes([self.lives]))
            case ex.Limit():
                taken = step.burst if self.spent else 0
                if not self._limits.setdefault(place, Limited(step, taken)).passes():
                    raise Break
            case ex.Lookup():
                self._lookup(step, registers)
            case ex.DynamicSet():
                self._update(step, registers)
            case ex.SetMeta(ex.MetaKey.PRIORITY, register):
                done.priority = registers.load(register, 4)
            case ex.Forward(register):
                done.device = registers.load(register, 4)
                raise _Sent
            case _:
                packet.step(step, registers)

    def _lookup(self, step: ex.Lookup, registers: Registers) -> None:
        name = step.set_name
        declared = self._sets[name]
        key = registers.load(step.register, declared.key_width)
        held = self.elements.get(name, {})
        if declared.nature is Nature.INTERVALS:
            there = self._around(name, key) is not None
        else:
            there = key in held or key in self.sets.get(name, {})
        if there is step.inverted:
            raise Break
        if step.into is not None:
            registers.store(step.into, held[key])

    def _leads(self, step: ex.Lookup, registers: Registers) -> ex.ChainVerdict:
        """The way that a map of verdicts gives a key; Break if it gives none."""
        width = self._sets[step.set_name].key_width
        found = self._around(step.set_name, registers.load(step.register, width))
        if found is None or found.leads is None:
            raise Break
        return found.leads

    def _around(self, name: str, key: bytes) -> Interval | None:
        """The interval around a key."""
        for interval in self.intervals.get(name, ()):
            if interval.first <= key <= interval.last:
                return interval
        return None

    def _update(self, step: ex.DynamicSet, registers: Registers) -> None:
        assert step.operation is ex.SetOperation.UPDATE
        name = step.set_name
        declared = self._sets[name]
        key = registers.load(step.key_register, declared.key_width)
        if declared.value:
            assert step.value_register is not None
            value = registers.load(step.value_register, declared.value_width)
            held = self.elements.setdefault(name, {})
            if key not in held and len(held) >= declared.size:
                raise Break
            held.setdefault(key, value)
            self._packet.touched.append((name, key))
            return
        limited = self.sets.setdefault(name, {})
        if key not in limited:
            if len(limited) >= declared.size:
                raise Break
            (limit,) = step.expressions
            assert isinstance(limit, ex.Limit)
            limited[key] = Limited(limit)
        self._packet.touched.append((name, key))
        if not limited[key].passes():
            raise Break
