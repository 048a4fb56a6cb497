# SPDX-License-Identifier: GPL-2.0-or-later
"""The nftables table that this process owns: its sets, rules, counters, switch.

Knows how the parts of the table are changed and read back, each change one
transaction; does not know the ifb or which flows are throttled. All through one
channel, from one thread: the kernel lets nobody else change an owned table, and
removes it when the channel closes.
"""

import errno
import logging
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple, NoReturn, Self

import numpy as np

from vpngate.errors import MissingFeature, Problem, TableTaken
from vpngate.kernel.table.lacking import no_forwarding
from vpngate.kernel.wire import elements, messages, nft
from vpngate.kernel.wire.attributes import attributes, each_attribute, number, text
from vpngate.kernel.wire.channel import Change, Channel
from vpngate.kernel.wire.elements import Element
from vpngate.kernel.wire.failures import Failure, Rejected
from vpngate.log_events import named
from vpngate.packets import Family, HookPoint
from vpngate.prefixes.intervals import Bounds, Intervals
from vpngate.prefixes.rows import Flags, Rows
from vpngate.ruleset import Ruleset, composition, names
from vpngate.ruleset.matching import ETHERTYPE
from vpngate.ruleset.table import Chain, Hook, Line, Table
from vpngate.ruleset.witnessing import SETTLING

logger = logging.getLogger(__name__)

_NOT_THERE = frozenset({errno.EOPNOTSUPP, errno.ENOENT})
_AT_ONCE = 500  # elements: the answers fit the receive buffer


class Rules(NamedTuple):
    """A table's chains and rules as they are sent, with the sets that go with them."""

    changes: list[Change]

    @classmethod
    def of(cls, table: Table) -> Self:
        """Encode them, which takes its time; in any thread."""
        chains = [one for one in table.chains if not names.is_lasting(one.name)]
        sets = [
            messages.new_set(table.name, one)
            for one in table.sets
            if names.is_sampled_set(one.name)
        ]
        for one in chains:  # what will take them away: it is kept, too
            messages.delete_rules(table.name, one.name)
            messages.delete_chain(table.name, one.name)
        return cls(sets + messages.new_chains(table.name, chains))


class OwnedTable:
    """One netdev table, ours alone."""

    def __init__(self, channel: Channel, name: str) -> None:
        self.name = name
        self.changed = 0.0  # when whom is spared was, by a clock that never jumps
        self._channel = channel

    def create(self, ruleset: Ruleset) -> None:
        """Take the table, with its lasting sets and counters; TableTaken if it is.

        One that nobody owns goes: an older version has left it, or a person.
        """
        table = composition.compose(ruleset)
        changes = [messages.new_table(self.name)]
        sets = composition.lasting_sets(ruleset)
        changes += [messages.new_set(self.name, one) for one in sets]
        changes += [messages.new_counter(self.name, name) for name in table.counters]
        changes += messages.new_chains(self.name, [*composition.first_chains(ruleset)])
        self._take(changes)

    def claim(self) -> None:
        """Take the table with nothing in it, so that nobody else has its name."""
        self._take([messages.new_table(self.name)])

    def _take(self, changes: Sequence[Change]) -> None:
        try:
            self._channel.commit(changes)
        except Rejected as error:
            first = error.failures[0]
            if first.number != errno.EEXIST or first.what != f"table {self.name}":
                self._explain(error)
            self.introduce([messages.delete_table(self.name), *changes])
            what = "nftables table netdev %s was there and belonged to nobody: replaced"
            logger.warning(what, self.name, extra=named("table_replaced"))

    def destroy(self) -> None:
        """Remove the table."""
        self._channel.commit([messages.delete_table(self.name)])

    def commit(self, changes: Sequence[Change]) -> None:
        """Apply changes as one transaction; Rejected tells what was wrong."""
        self._channel.commit(changes)

    def introduce_slowing(self, changes: Sequence[Change]) -> None:
        """Apply changes with the first rules that slow; MissingFeature if none can be.

        Where those that observe are there, it is `fwd` that is missing: before Linux
        5.17 it is for ingress alone, and no rule may lead to it from egress.
        """
        try:
            self._channel.commit(changes)
        except Rejected as error:
            first = error.failures[0]
            if first.what.startswith("rule ") and first.number in _NOT_THERE:
                raise no_forwarding(first) from error
            raise

    def introduce(self, changes: Sequence[Change]) -> None:
        """Apply the first changes of their kind; MissingFeature if none can be."""
        try:
            self._channel.commit(changes)
        except Rejected as error:
            self._explain(error)

    def fill(self, name: str, few: Bounds) -> None:
        """Put a few more intervals into a set."""
        self._channel.commit(elements.add_intervals(self.name, name, few))

    def protect(self, protected: Intervals, watched: Intervals) -> None:
        """Have exactly these in the sets of protected addresses, whatever was there."""
        changes: list[Change] = []
        for family in Family:
            for name, those in (
                (names.protected_set(family), protected),
                (names.watched_set(family), watched),
            ):
                changes.append(elements.flush(self.name, name))
                changes += elements.add_intervals(self.name, name, those.of(family))
        self._channel.commit(changes)

    def settling(self) -> list[Change]:
        """The changes that go with one of whom is spared: no witness counts yet."""
        self.changed = time.monotonic()
        return self._renewed(names.SETTLING, SETTLING)

    def new_rules(self, rules: Rules) -> list[Change]:
        """The changes that put these chains and rules in the place of any others.

        Base chains go and come in the same transaction, so that no packet finds none.
        What asks for registered addresses stays, and the witness.
        """
        chains = [name for name in self.chains() if not names.is_lasting(name)]
        changes = [messages.delete_rules(self.name, name) for name in chains]
        changes += [messages.delete_chain(self.name, name) for name in chains]
        changes += [
            messages.delete_set(self.name, name)
            for name in self.sets()
            if names.is_sampled_set(name)
        ]
        return changes + rules.changes

    def sets(self) -> list[str]:
        """The sets that the kernel has: what became of a change, it knows best."""
        answers = self._channel.dump(messages.get_sets(self.name))
        return [text(nft.parts(answer)[nft.SET_NAME]) for answer in answers]

    def chains(self) -> list[str]:
        """The chains that the kernel has; a base chain goes with its last interface."""
        return [text(parts[nft.CHAIN_NAME]) for parts in self._own_chains()]

    def handles(self, chain: str, line: Line) -> list[int]:
        """Of a chain's rules those that are called as that line is; in their order."""
        rules = self._channel.dump(messages.get_rules(self.name, chain))
        return messages.handles_of(rules, line)

    def hooked_interfaces(self) -> list[set[str]]:
        """The interfaces of the base chains at ingress and at egress."""
        found: dict[int, set[str]] = {point: set() for point in HookPoint}
        for parts in self._own_chains():
            if nft.CHAIN_HOOK in parts and names.is_base(text(parts[nft.CHAIN_NAME])):
                hook = attributes(parts[nft.CHAIN_HOOK])
                devices = each_attribute(hook.get(nft.HOOK_DEVICES, b""))
                at = found[number(hook[nft.HOOK_NUMBER])]
                at.update(text(one) for _, one in devices)
        return list(found.values())

    def refusal_of(self, devices: Sequence[str], priority: int) -> Failure | None:
        """Why no chain can be hooked to these interfaces; None if one can.

        At most `names.MOST_DEVICES`. Packets notice nothing: the chains have no rule.
        """
        trials = [
            Chain(names.trial(point), (), Hook(point, priority, tuple(devices)))
            for point in HookPoint
        ]
        try:
            self._channel.commit([messages.new_chain(self.name, t) for t in trials])
        except Rejected as error:
            return error.failures[0]
        gone = [messages.delete_chain(self.name, trial.name) for trial in trials]
        self._channel.commit(gone)
        return None

    def arm(self, seconds: float) -> None:
        """Let the throttle chains work for so long from now."""
        self._channel.commit(self._renewed(names.ARMED, seconds))

    def _renewed(self, name: str, seconds: float) -> list[Change]:
        """The changes that have both families in a set for so long from now.

        Deleting alone fails once they have expired, adding alone does not prolong them.
        """
        both = [Element(key, seconds) for key in ETHERTYPE.values()]
        add = elements.add(self.name, name, both)
        return [*add, *elements.delete(self.name, name, both), *add]

    def disarm(self) -> None:
        """Stop throttling at once."""
        self._channel.commit([elements.flush(self.name, names.ARMED)])

    def counters(self) -> dict[str, tuple[int, int]]:
        """Packets and bytes of each named counter."""
        totals = {}
        for answer in self._channel.dump(messages.get_counters(self.name)):
            parts = nft.parts(answer)
            count = attributes(parts[nft.OBJECT_DATA])
            packets, octets = count[nft.COUNTER_PACKETS], count[nft.COUNTER_BYTES]
            name = text(parts[nft.OBJECT_NAME])
            totals[name] = number(packets), number(octets)
        return totals

    def keys(self, name: str) -> list[bytes]:
        """The keys that a set of few elements has at this moment."""
        answers = self._channel.dump(elements.get_all(self.name, name))
        return [key for answer in answers for key in elements.keys_of(answer)]

    def find(self, keys: Sequence[tuple[str, bytes]]) -> list[bytes | None]:
        """The element of each key in its set, as answered; None where there is none."""
        requests = [elements.get(self.name, name, key) for name, key in keys]
        answers: list[bytes | None] = []
        for start in range(0, len(requests), _AT_ONCE):
            answers += self._channel.ask(requests[start : start + _AT_ONCE])
        return answers

    def holds(self, sets: Sequence[str], addresses: Rows) -> Flags:
        """For each row, whether its set of intervals holds it."""
        answers = self._around(sets, addresses)
        return np.array([answer is not None for answer in answers], dtype=np.bool_)

    def starts(self, sets: Sequence[str], addresses: Rows) -> list[bytes | None]:
        """For each row, where its set's interval around it begins; None without."""
        answers = self._around(sets, addresses)
        return [answer and elements.key_of(answer) for answer in answers]

    def _around(self, sets: Sequence[str], addresses: Rows) -> list[bytes | None]:
        rows = [row.tobytes() for row in addresses]
        return self.find(list(zip(sets, rows, strict=True)))

    def count(self, sets: Sequence[str]) -> int | None:
        """How many intervals are in some sets; None from a kernel that does not tell.

        It counts elements and halves them, so one whose end needs no element, at the
        top of the address space, does not count. Linux tells since 6.16.
        """
        total = 0
        for answer in self._channel.ask([messages.get_set(self.name, n) for n in sets]):
            told = None if answer is None else nft.parts(answer).get(nft.SET_COUNT)
            if told is None:
                return None
            total += number(told)
        return total

    def _own_chains(self) -> Iterator[dict[int, memoryview]]:
        for answer in self._channel.dump(messages.get_chains()):
            parts = nft.parts(answer)
            if text(parts[nft.CHAIN_TABLE]) == self.name:
                yield parts

    def _explain(self, error: Rejected) -> NoReturn:
        where = f"nftables table netdev {self.name}"
        first = error.failures[0]
        if first.what == f"table {self.name}" and first.number == errno.EPERM:
            raise TableTaken(
                Problem(
                    where,
                    "belongs to another process, most likely another vpngate",
                    "stop that one, or give this one another gateway.table",
                )
            ) from error
        if first.number in _NOT_THERE:
            raise MissingFeature(
                Problem(
                    where,
                    f"the kernel cannot take {first.what}: {first}",
                    "vpngate needs nf_tables with netdev hooks at ingress and egress "
                    "(Linux 5.16 or later)",
                )
            ) from error
        raise error
