# SPDX-License-Identifier: GPL-2.0-or-later
"""A table with one thing wrong in it, again and again.

Knows the slips of someone who writes rules: one left out, two in the wrong order, a
question turned round, another end asked, another verdict; does not know what a table
is for.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from vpngate import expressions as ex
from vpngate.expressions import CompareOp, Rule, VerdictCode
from vpngate.packets import Family
from vpngate.ruleset import matching
from vpngate.ruleset.table import Chain, Line, Table

_OPPOSITE = {CompareOp.EQ: CompareOp.NEQ, CompareOp.NEQ: CompareOp.EQ}
_ENDS = {
    end(family): other(family)
    for family in Family
    for end, other in (
        (matching.source, matching.destination),
        (matching.destination, matching.source),
    )
}
_VERDICTS = {
    VerdictCode.ACCEPT: VerdictCode.RETURN,
    VerdictCode.RETURN: VerdictCode.ACCEPT,
    VerdictCode.JUMP: VerdictCode.GOTO,
    VerdictCode.GOTO: VerdictCode.JUMP,
}


@dataclass(frozen=True)
class Mutation:
    """A slip in one line of one chain, and the table that has it."""

    chain: str
    line: int
    slip: str
    table: Table

    def __str__(self) -> str:
        return f"{self.chain}: {self.line} {self.slip}"


def mutations(table: Table, mutated: Callable[[str], bool]) -> Iterator[Mutation]:
    """Every slip there is in the chains whose names `mutated` takes."""
    for chain in table.chains:
        if mutated(chain.name):
            for line, slip, lines in _of_chain(chain):
                wrong = replace(chain, lines=tuple(lines))
                chains = (wrong if one is chain else one for one in table.chains)
                yield Mutation(
                    chain.name, line, slip, replace(table, chains=tuple(chains))
                )


def _of_chain(chain: Chain) -> Iterator[tuple[int, str, list[Line]]]:
    lines = list(chain.lines)
    for number, line in enumerate(lines):
        before, behind = lines[:number], lines[number + 1 :]
        yield number, "left out", before + behind
        if behind:
            yield number, "one later", [*before, behind[0], line, *behind[1:]]
        for slip, rule in _of_rule(line.rule):
            wrong = replace(line, rule=rule)
            yield number, slip, [*before, wrong, *behind]


def _of_rule(rule: Rule) -> Iterator[tuple[str, Rule]]:
    for number, step in enumerate(rule):
        before, behind = rule[:number], rule[number + 1 :]
        what = f"{type(step).__name__} {number}"
        yield f"without {what}", (*before, *behind)
        for slip, other in _of_step(step):
            yield f"{what} {slip}", (*before, other, *behind)
        if behind and _acts(step, behind[0]):
            yield f"{what} one later", (*before, behind[0], step, *behind[1:])


def _of_step(step: ex.Expression) -> Iterator[tuple[str, ex.Expression]]:
    match step:
        case ex.Compare(operator=operator):
            yield "turned round", replace(step, operator=_OPPOSITE[operator])
        case ex.Range(outside=outside):
            yield "turned round", replace(step, outside=not outside)
        case ex.Lookup(into=None, inverted=inverted):
            yield "turned round", replace(step, inverted=not inverted)
        case ex.Payload() if step in _ENDS:
            yield "of the other end", _ENDS[step]
        case ex.Payload(register=register):
            yield "into the next register", replace(step, register=register + 1)
        case ex.ChainVerdict(code):
            yield "of another kind", replace(step, code=_VERDICTS[code])
        case ex.Limit(over=over):
            yield "turned round", replace(step, over=not over)


def _acts(step: ex.Expression, following: ex.Expression) -> bool:
    """Whether something is asked and then done: the order matters."""
    asks = (ex.Compare, ex.Range, ex.Lookup, ex.Limit)
    does = (ex.NamedCounter, ex.SetMeta, ex.LogPacket)
    return isinstance(step, asks) and isinstance(following, does)
