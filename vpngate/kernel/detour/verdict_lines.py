# SPDX-License-Identifier: GPL-2.0-or-later
"""The lines that ask for verdicts: they stand in their chains while one may live.

Knows which chains have one, how it comes and goes, and that no verdict is handed to the
kernel before all of them ask; does not know verdicts, nor when they come. Rules are put
up with every line: so whatever becomes of a change, none is missing that was there. One
thread alone may use it. Times are of a clock that never jumps, in seconds.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import Enum, auto

from vpngate.kernel.table.owned import OwnedTable
from vpngate.kernel.wire import messages
from vpngate.kernel.wire.channel import Change
from vpngate.ruleset import Ruleset, composition
from vpngate.ruleset.table import Line

# Where a tunnel is slowed now and then, the chains would else change with each of them.
QUIET = 60.0  # seconds without a verdict


class _State(Enum):
    """What the chains do, as far as it is known."""

    ASKING = auto()  # each has its line, once
    AT_REST = auto()  # each is there, and has none
    UNKNOWN = auto()


class VerdictLines:
    """Those of one table; what makes changes of its verdicts."""

    def __init__(self, table: OwnedTable) -> None:
        self._table = table
        self._lines: Mapping[str, Line] = {}  # by chain
        self._state = _State.ASKING
        self._quiet_since: float | None = None

    @contextmanager
    def put_up(self, ruleset: Ruleset) -> Iterator[None]:
        """Inside, rules are put up: all chains ask then, or it raises.

        Then the old rules are there or the new ones, and nobody knows.
        """
        self._state = _State.UNKNOWN
        yield
        self._lines = composition.verdict_lines(ruleset)
        self._state = _State.ASKING
        self._quiet_since = None

    def commit(self, changes: Sequence[Change]) -> None:
        """Make changes of verdicts, all or none, and have all chains ask before."""
        if not changes:
            return
        self._quiet_since = None
        if self._state is _State.ASKING:
            self._table.commit(changes)
        else:
            self._ask(changes)

    def look_after(self, now: float, *, held: bool) -> None:
        """Have no chain ask once none of a verdict was `held` for a while."""
        if self._state is _State.UNKNOWN:
            self._ask([])
        if held or self._state is not _State.ASKING:
            self._quiet_since = None
        elif self._quiet_since is None:
            self._quiet_since = now
        elif now - self._quiet_since >= QUIET:
            self._rest()

    def _ask(self, then: Sequence[Change]) -> None:
        """Have each chain ask once, whatever it does now; and make changes, at once."""
        there: set[str] = set(self._lines)
        if self._state is _State.AT_REST:
            changes = [self._first(chain) for chain in self._lines]
        else:
            # The kernel may have other rules than is believed: those that observe.
            there &= set(self._table.chains())
            changes = [one for chain in sorted(there) for one in self._lacking(chain)]
        self._state = _State.UNKNOWN
        self._table.commit([*changes, *then])
        if there == set(self._lines):
            self._state = _State.ASKING

    def _lacking(self, chain: str) -> Iterator[Change]:
        """What a chain lacks to ask once; the kernel knows what it has."""
        handles = self._table.handles(chain, self._lines[chain])
        if not handles:
            yield self._first(chain)
        for handle in handles[1:]:
            yield messages.delete_rule(self._table.name, chain, handle)

    def _first(self, chain: str) -> Change:
        return messages.new_rule(
            self._table.name, chain, self._lines[chain], first=True
        )

    def _rest(self) -> None:
        """Take all lines out; what fails is tried again, as late as this was."""
        self._quiet_since = None
        changes = [
            messages.delete_rule(self._table.name, chain, handle)
            for chain, line in self._lines.items()
            for handle in self._table.handles(chain, line)
        ]
        self._state = _State.UNKNOWN
        self._table.commit(changes)
        self._state = _State.AT_REST
