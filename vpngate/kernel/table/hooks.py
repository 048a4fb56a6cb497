# SPDX-License-Identifier: GPL-2.0-or-later
"""Which interfaces the rules are hooked to: those that are there and can be had.

Knows how to find the interface that a transaction was refused for, so that it holds up
no other, and when to try it again; does not know what the rules say. One thread alone
may change it.
"""

import errno
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from vpngate.errors import MissingFeature
from vpngate.kernel.table.owned import OwnedTable
from vpngate.kernel.wire.channel import Change
from vpngate.kernel.wire.failures import Rejected
from vpngate.kernel.wire.links import Device, current_devices
from vpngate.ruleset import Ruleset, names

_ATTEMPTS = 4  # at one transaction, while interfaces come and go under it


class _Refused(NamedTuple):
    of: int  # the interface's index
    why: str


class Hooks:
    """The interfaces of one table's base chains."""

    def __init__(self, table: OwnedTable) -> None:
        self._table = table
        self._devices: dict[str, Device] = {}  # those that are there
        self._refused: dict[str, _Refused] = {}  # the next to be tried first

    @property
    def refused(self) -> Mapping[str, str]:
        """What the kernel does not let us have, and why; from any thread."""
        return {name: each.why for name, each in self._refused.copy().items()}

    def index_of(self, name: str) -> int | None:
        """The index that an interface had at the last look; from any thread."""
        device = self._devices.get(name)
        return None if device is None else device.index

    @property
    def largest_mtu(self) -> int:
        """Of all that are there, in bytes; 0 if none is."""
        return max((device.mtu for device in self._devices.values()), default=0)

    def choose(self, ruleset: Ruleset) -> Ruleset:
        """The same ruleset, for those of its interfaces that can be had now."""
        self._look(ruleset)
        return replace(ruleset, interfaces=self._wanted())

    def are_whole(self, ruleset: Ruleset) -> bool:
        """Whether the rules see all interfaces that can be had now.

        One that came back under its name Linux hooks by itself, since 6.16.
        """
        self._look(ruleset)
        hooked = self._table.hooked_interfaces()
        return all(devices.issuperset(self._wanted()) for devices in hooked)

    def commit(
        self,
        commit: Callable[[Sequence[Change]], None],
        changes: Callable[[], Sequence[Change]],
        ruleset: Ruleset,
    ) -> None:
        """Commit the `changes` that hook what was chosen of a ruleset.

        If it is an interface that they are refused for, that one is left alone, and
        they are made once more. Raises what `commit` raises for anything else.
        """
        for _ in range(_ATTEMPTS):
            try:
                commit(changes())
            except (Rejected, MissingFeature) as error:
                if not self._settle(error, ruleset):
                    raise
            else:
                return
        commit(changes())

    def try_again(self, ruleset: Ruleset) -> bool:
        """Whether any that was refused can be had now: all at once, else the next."""
        priority = ruleset.hook_priority
        if not self._refused:
            return False
        if self._table.refusal_of(list(self._refused), priority) is None:
            self._refused = {}
            return True
        first, *others = self._refused
        taken = bool(others) and self._table.refusal_of([first], priority) is None
        last = {} if taken else {first: self._refused[first]}
        self._refused = {name: self._refused[name] for name in others} | last
        return taken

    def _look(self, ruleset: Ruleset) -> None:
        self._devices = current_devices(ruleset.interfaces)
        # Another one of the same name may be had.
        self._refused = {
            name: each
            for name, each in self._refused.items()
            if self.index_of(name) == each.of
        }

    def _wanted(self) -> tuple[str, ...]:
        return tuple(name for name in self._devices if name not in self._refused)

    def _settle(self, error: Rejected | MissingFeature, ruleset: Ruleset) -> bool:
        """Leave alone what a refusal was for; whether something else is to be hooked.

        That may be another interface of the same name, by now.
        """
        cause = error if isinstance(error, Rejected) else error.__cause__
        if not isinstance(cause, Rejected) or not _is_for_an_interface(cause):
            return False
        before = self._wanted(), self._devices
        hooked = set.intersection(*self._table.hooked_interfaces())
        self._look(ruleset)
        tried = self._wanted()
        priority = ruleset.hook_priority
        found: dict[str, _Refused] = {}
        for start in range(0, len(tried), names.MOST_DEVICES):
            found |= self._culprits(tried[start : start + names.MOST_DEVICES], priority)
        if len(tried) > 1 and found.keys() == set(tried) and hooked & found.keys():
            return False  # it is for none of them in particular: keep what there is
        self._refused |= found
        return (self._wanted(), self._devices) != before

    def _culprits(self, tried: Sequence[str], priority: int) -> dict[str, _Refused]:
        """Those of the interfaces that no chain can be hooked to, by halving."""
        failure = self._table.refusal_of(tried, priority)
        if failure is None:
            return {}
        if len(tried) == 1:
            [name] = tried
            return {name: _Refused(self._devices[name].index, str(failure))}
        half = len(tried) // 2
        return self._culprits(tried[:half], priority) | self._culprits(
            tried[half:], priority
        )


def _is_for_an_interface(error: Rejected) -> bool:
    """Whether a base chain was refused, and not for a hook that the kernel lacks."""
    return any(
        failure.number != errno.EOPNOTSUPP
        and failure.what.startswith("chain ")
        and names.is_base(failure.what.removeprefix("chain "))
        for failure in error.failures
    )
