# SPDX-License-Identifier: GPL-2.0-or-later
"""A table walked packet by packet, in Python, at one moment.

Knows jumps and verdicts, counters, copies, and limits whose time stands still: a limit
lets its burst pass and then nothing. Written from the kernel's sources (nft_do_chain,
nft_dynset_eval, nft_limit_eval); expressions that look at bytes are those of
`signatures/netdev_hook.py`.
"""

from collections import Counter
from dataclasses import dataclass, field

from tests.unit.signatures.netdev_hook import Break, Packet
from vpngate import expressions as ex
from vpngate.expressions import VerdictCode
from vpngate.packets import HookPoint
from vpngate.ruleset import names
from vpngate.ruleset.table import Line, Table


@dataclass
class _Limited:
    """A limit, and what of its burst has been taken."""

    limit: ex.Limit
    taken: int = 0

    def passes(self) -> bool:
        beyond = self.taken >= self.limit.burst
        self.taken += not beyond
        return beyond is self.limit.over


@dataclass
class Walk:
    """A table with what its packets have left in it.

    `lives` is what the kernel says of a packet's way back.
    """

    table: Table
    lives: bool = True
    copied: int = 0
    counters: Counter[str] = field(default_factory=Counter)
    sets: dict[str, dict[bytes, _Limited]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._chains = {chain.name: chain for chain in self.table.chains}
        self._sets = {one.name: one for one in self.table.sets}
        self._limits: dict[tuple[str, int], _Limited] = {}

    def copies(self, point: HookPoint, frame: bytes) -> bool:
        """Whether a packet at a hook is copied."""
        before = self.copied
        self._chain(names.base(point), Packet(frame))
        return self.copied > before

    def _chain(self, name: str, packet: Packet) -> bool:
        """Walk a chain; whether the packet's walk is over."""
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
        registers: dict[int, bytes] = {}
        try:
            for step in line.rule:
                if isinstance(step, ex.ChainVerdict):
                    return step
                self._step(place, step, packet, registers)
        except Break:
            pass
        return None

    def _step(
        self,
        place: tuple[str, int],
        step: ex.Expression,
        packet: Packet,
        registers: dict[int, bytes],
    ) -> None:
        match step:
            case ex.NamedCounter(name):
                self.counters[name] += 1
            case ex.LogPacket():
                self.copied += 1
            case ex.ReversePathCheck(register):
                registers[register] = bytes([self.lives])
            case ex.Limit():
                if not self._limits.setdefault(place, _Limited(step)).passes():
                    raise Break
            case ex.Lookup(_, _, into) if into is not None:
                raise Break  # no flow has a verdict
            case ex.Lookup(name, register, None, inverted):
                key = registers[register][: self._sets[name].key_width]
                if (key in self.sets.get(name, {})) is inverted:
                    raise Break
            case ex.DynamicSet(name, ex.SetOperation.UPDATE, register):
                self._update(step, registers[register])
            case _:
                packet.step(step, registers)

    def _update(self, step: ex.DynamicSet, key: bytes) -> None:
        declared = self._sets[step.set_name]
        held = self.sets.setdefault(step.set_name, {})
        key = key[: declared.key_width]
        if key not in held:
            if len(held) >= declared.size:
                raise Break
            (limit,) = step.expressions
            assert isinstance(limit, ex.Limit)
            held[key] = _Limited(limit)
        if not held[key].passes():
            raise Break
