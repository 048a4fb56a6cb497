# SPDX-License-Identifier: GPL-2.0-or-later
"""Which interfaces of a ruleset programs may stand at, and why not at the others.

Knows who is asked about which of them at a look, a few at a time, and that only an
answer is an objection: what cannot be asked stays as it is. Does not know what keeps
one from it (`unfit.py`), nor how programs stand. One thread at a time may change it;
`refused`, `index_of` and `tell` may be called in any.
"""

from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from typing import NamedTuple

from vpngate.errors import KernelRefused, VpngateError
from vpngate.kernel.bpf import programs
from vpngate.kernel.programmed.programmed_table import ProgrammedTable
from vpngate.kernel.programmed.unfit import ETHERNET, Looked, header_of, objections
from vpngate.kernel.wire.links import Device, current_devices
from vpngate.ruleset import Ruleset

_ASKED_AT_ONCE = 32  # interfaces a look: what stands there takes a tenth of a ms each
_UNASKED = "could not be asked what stands there, and is asked again"
_UNKNOWN = "its packets have a link header that is not known here"


class _Refused(NamedTuple):
    of: int  # the interface's index
    why: str


class _Header(NamedTuple):
    of: int | None  # the interface's index
    length: int | None


class Eligible:
    """Those of one plane; at which programs stand, by index, is told each time."""

    def __init__(self, table: ProgrammedTable) -> None:
        self.configured: frozenset[str] = frozenset()
        self.devices: dict[str, Device] = {}  # those of them that are there
        self._table = table
        self._refused: dict[str, _Refused] = {}
        self._fit: dict[str, int] = {}  # new ones that were asked, and their indexes
        self._headers: dict[str, _Header] = {}  # the last answers
        self._told: dict[str, None] = {}  # that are to be asked first
        self.waiting = False  # whether these were too many for the last look
        self._turns, self._turns_of_refused = _Turns(), _Turns()
        self._freed = False  # whether any that was refused can be had
        self._failure: VpngateError | None = None  # of the last look

    @property
    def refused(self) -> Mapping[str, str]:
        """What cannot be had, and why."""
        return {name: each.why for name, each in self._refused.copy().items()}

    def is_refused(self, name: str) -> bool:
        """Whether that one cannot be had."""
        return name in self._refused

    def index_of(self, name: str) -> int | None:
        """The index that an interface had at the last look."""
        device = self.devices.get(name)
        return None if device is None else device.index

    def wanted(self) -> tuple[str, ...]:
        """Those that can be had."""
        return tuple(name for name in self.devices if name not in self._refused)

    def refuse(self, those: Mapping[str, str]) -> None:
        """Have none of these, for such reasons."""
        for name, why in those.items():
            self._refused[name] = _Refused(self.devices[name].index, why)

    def choose(self, ruleset: Ruleset, standing: Mapping[str, int]) -> None:
        """Ask about those that are new; what cannot be asked waits for a look.

        New is also another interface that has the name of one with programs.
        """
        self._find(ruleset)
        known = (*standing.items(), *self._fit.items())
        asked = {name for name, at in known if self.index_of(name) == at}
        new = self.devices.keys() - {*self._refused, *asked}
        if new or standing:
            looked = self._objections(new)
            self.refuse(looked.objections)
            unasked = (looked.unasked & new) - looked.objections.keys()
            self.refuse(dict.fromkeys(unasked, _UNASKED))
        fit = new - self._refused.keys()
        self._fit.update((name, self.devices[name].index) for name in fit)

    def chosen(self) -> None:
        """What was chosen is in force: who is new later is asked again."""
        self._fit.clear()

    def headers(self, names: Iterable[str]) -> frozenset[int]:
        """The link headers that packets of these have; others are refused."""
        found = {ETHERNET}
        for name in names:
            try:
                header = self.header_of(name)
            except KernelRefused:
                self.refuse({name: _UNASKED})
                continue
            if header is None:
                self.refuse({name: _UNKNOWN})
            else:
                found.add(header)
        return frozenset(found)

    def header_of(self, name: str) -> int | None:
        """Bytes before the IP header of one's packets; None: not known.

        The last answer, where none comes at this moment. Raises KernelRefused where
        there was none of this interface.
        """
        index = self.index_of(name)
        try:
            self._headers[name] = _Header(index, header_of(name))
        except KernelRefused:
            last = self._headers.get(name)
            if last is None or last.of != index:
                raise
        return self._headers[name].length

    def tell(self, name: str) -> None:
        """Something was announced of it: at the next look it is asked first."""
        self._told[name] = None

    def look(self, ruleset: Ruleset, standing: Mapping[str, int]) -> None:
        """Ask about few: those that were told of, then others in turn.

        What fails is raised by `take_failure`, and what was told of is asked again.
        """
        first = [*self._told.copy()]
        told, self.waiting = first[:_ASKED_AT_ONCE], len(first) > _ASKED_AT_ONCE
        for name in told:
            del self._told[name]
        try:
            self._find(ruleset)
            self._ask(set(told), standing)
        except VpngateError as error:
            self._told.update(dict.fromkeys(told))
            self._failure = error

    def take_freed(self) -> bool:
        """Whether any that was refused was free at a look; what failed is raised."""
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure
        freed, self._freed = self._freed, False
        return freed

    def _ask(self, told: set[str], standing: Mapping[str, int]) -> None:
        there = self.devices.keys() & standing.keys()
        again = self._turns_of_refused.few(self._refused)
        few = {*(there & told), *self._turns.few(there), *again}
        if not few and not standing:
            return
        looked = self._objections(few)
        self.refuse(looked.objections)
        self._told.update(dict.fromkeys(told & looked.unasked))
        for name in set(again) - looked.objections.keys() - looked.unasked:
            with suppress(KernelRefused):
                if self.header_of(name) is not None:
                    del self._refused[name]
                    self._freed = True

    def _objections(self, few: Collection[str]) -> Looked:
        ours = [programs.id_of(one) for one in self._table.hooks.values()]
        indexes = {name: device.index for name, device in self.devices.items()}
        return objections(indexes, few, table=self._table.name, ours=ours)

    def _find(self, ruleset: Ruleset) -> None:
        self.configured = frozenset(ruleset.interfaces)
        self.devices = current_devices(ruleset.interfaces)
        # Another one of the same name may be had.
        self._refused = {
            name: each
            for name, each in self._refused.items()
            if self.index_of(name) == each.of
        }
        self._headers = {
            name: each
            for name, each in self._headers.items()
            if self.index_of(name) == each.of
        }


class _Turns:
    """A few of many each time, each in its turn."""

    def __init__(self) -> None:
        self._last = ""

    def few(self, names: Iterable[str]) -> list[str]:
        row = sorted(names)
        at = bisect_right(row, self._last)
        found = (row[at:] + row[:at])[:_ASKED_AT_ONCE]
        self._last = found[-1] if found else ""
        return found
