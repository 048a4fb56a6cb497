# SPDX-License-Identifier: GPL-2.0-or-later
"""Table, ifb, filters and verdicts as one thing, changed step by step.

Knows what each step of a change does and what may come before what; does not know
threads or waiting (`live.py` calls everything here from one thread).
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from pyroute2 import IPRoute

from vpngate.kernel.attached import Attached
from vpngate.kernel.links import Announcement, What, current_links, require
from vpngate.kernel.netlink import NETFILTER, ROUTE, Channel
from vpngate.kernel.owned_table import OwnedTable
from vpngate.kernel.plane import Counters
from vpngate.kernel.readback import Compared, after_change
from vpngate.kernel.redirect import Redirect
from vpngate.kernel.shaper import Shaper, free_major
from vpngate.kernel.spared import SparedSets
from vpngate.kernel.throttled import Throttled, ends_among
from vpngate.kernel.totals import total
from vpngate.packets import Family
from vpngate.plan import Plan
from vpngate.policy import Throttle
from vpngate.prefixes.rows import Rows
from vpngate.ruleset import Ruleset
from vpngate.ruleset.composition import compose
from vpngate.ruleset.table import Table

_DRAIN = 1.0  # seconds at most; a queue holds 0.2
_DRAIN_STEP = 0.02

logger = logging.getLogger(__name__)


class Apparatus:
    """All that stands in the kernel for one table. One thread alone may use it."""

    ruleset: Ruleset
    spared: SparedSets
    _table: OwnedTable
    _shaper: Shaper
    _attached: Attached
    _throttled: Throttled

    def __init__(self) -> None:
        self._channels: list[Channel] = []
        self._route: IPRoute | None = None
        self._taken = False
        self._broken = False  # the ifb is not what it should be: stay disarmed
        self._armed_until = 0.0

    def open(self, ruleset: Ruleset) -> None:
        """Take the table, with sets and counters and no rule yet."""
        self.ruleset = ruleset
        require(ruleset.interfaces)
        for protocol in (NETFILTER, ROUTE):
            self._channels.append(Channel(protocol))
        owner, route = self._channels
        self._route = IPRoute()
        self._table = OwnedTable(owner, ruleset.table)
        self.spared = SparedSets(self._table)
        self._shaper = Shaper(ruleset.table, self._route, route)
        self._shaper.major = free_major(self._route)
        self._attached = Attached(Redirect(route))
        self._throttled = Throttled(self._table, self._shaper, ruleset.max_flows)
        self._table.create(ruleset)
        self._taken = True
        self.spared.create()
        # A killed predecessor leaves these; its table went with it.
        self._shaper.remove()
        self._attached.detach_all()

    def install(self, ruleset: Ruleset) -> None:
        """Put up ifb and filters, then the rules that use them."""
        if ruleset.enforce:
            self._shaper.build(ruleset.rate)
            self._attach(ruleset, ruleset.interfaces)
        table = self._composed(ruleset)
        self._table.introduce(self._table.new_rules(table))

    def prepare(self, ruleset: Ruleset, steps: Plan) -> None:
        """Put up what the new rules will need; nothing uses it yet."""
        require(set(ruleset.interfaces) - set(self.ruleset.interfaces))
        if steps.build:
            self._shaper.build(ruleset.rate)
            self._throttled.rebuilt()
        self._attach(ruleset, steps.attach)
        if steps.swap:
            self.spared.begin_anew()

    def switch(self, ruleset: Ruleset, steps: Plan) -> None:
        """Turn from the old rules to the new in one transaction.

        It deletes the verdicts that the new rules cover, so that none outlives them.
        """
        ending = (
            self._throttled.everything()
            if steps.end_verdicts
            else self._throttled.covered(ruleset.spared)
        )
        changes = self._throttled.ending(ending)
        if not steps.swap:
            changes += self._table.spared_delta(self.spared.asked, steps.spared)
        generation = self.spared.newest if steps.swap else self.spared.asked
        table = self._composed(ruleset, generation)
        if steps.rules:
            changes += self._table.new_rules(table)
        if steps.swap:
            changes += self.spared.removal()
        self._table.commit(changes)
        if steps.swap:
            self.spared.turned()
        self._throttled.ended(ending, time.monotonic())
        self.ruleset = ruleset

    def finish(self, steps: Plan) -> None:
        """Take down what nothing uses any more."""
        if steps.rate and not steps.dismantle:
            self._throttled.classes.change_rate(self.ruleset.rate)
        self._attached.detach(steps.detach)
        if steps.dismantle:
            self._drain()
            self._throttled.dismantled()
            self._shaper.remove()

    def abandon(self, ruleset: Ruleset, steps: Plan) -> None:
        """Take down what was prepared for a change, unless it is in force."""
        if self.ruleset is ruleset:  # whoever waited was cancelled, the change was not
            return
        before = self.ruleset.interfaces if self.ruleset.enforce else ()
        self._attached.detach(name for name in steps.attach if name not in before)
        if steps.build:
            self._throttled.dismantled()
            self._shaper.remove()
        self.spared.abandon()

    def switch_refilled(self) -> None:
        """Turn the rules to the spared sets that were filled."""
        table = self._composed(self.ruleset, self.spared.newest)
        changes = self._table.new_rules(table)
        self._table.commit([*changes, *self.spared.removal()])
        self.spared.turned()

    def throttle(self, flows: Sequence[Throttle]) -> None:
        """Hand over a few verdicts whose ends are not spared at this moment."""
        if self.ruleset.enforce:
            spared = ends_among(flows, self.ruleset.spared)
            wanted = [
                flow for flow, skip in zip(flows, spared, strict=True) if not skip
            ]
            self._throttled.throttle(wanted, time.monotonic())

    def advance(self) -> bool:
        """Make or change a few of the classes that wait for it; whether more wait."""
        return self._throttled.classes.advance()

    def release(self, chosen: Callable[[Throttle], bool]) -> int:
        """End the verdicts that a predicate picks."""
        return self._throttled.release(chosen, time.monotonic())

    def withdraw(self, flows: Sequence[Throttle]) -> None:
        """End a few verdicts."""
        self._throttled.withdraw(flows, time.monotonic())

    def look_after(self, now: float) -> None:
        """Learn what has ended, and clear up behind it."""
        self._throttled.look_after(now)

    def rearm(self) -> bool:
        """Arm for the dead man's time, unless the ifb is not fit for it; whether."""
        fit = self.ruleset.enforce and not self._broken
        if self.ruleset.enforce:
            self._armed_until = time.monotonic() + self.ruleset.deadman
        if fit:
            self._table.arm(self.ruleset.deadman)
        return fit

    def disarm(self) -> None:
        """Stop throttling at once."""
        self._armed_until = 0.0
        self._table.disarm()

    def break_off(self) -> None:
        """Stop throttling until `repair` has seen to the ifb."""
        self._broken = True
        self._table.disarm()

    def concerns(self, news: Announcement) -> bool:
        """Whether something of ours may have changed; from any thread."""
        if news.what is What.UNKNOWN or news.index == self._shaper.index:
            return True
        return self._attached.concerns(news)

    def endangers(self, news: Announcement) -> bool:
        """Whether packets forwarded to the ifb are lost from now; from any thread."""
        if news.index != self._shaper.index:
            return False
        down = news.link is not None and not news.link.up
        return news.what is What.LINK_GONE or (news.what is What.LINK and down)

    def repair(self) -> list[str]:
        """Compare ifb, filters and hooks, mend what differs; labels of what did."""
        repaired = []
        if self.ruleset.enforce and not self._shaper.exists():
            self.break_off()
            self._shaper.build(self.ruleset.rate)
            self._throttled.rebuilt()
            repaired.append("ifb")
        links = current_links()
        present = {n: links[n] for n in self.ruleset.interfaces if n in links}
        if self.ruleset.enforce:
            mark, device = self.ruleset.mark, self._shaper.index
            loose = self._attached.loose(present, mark, device)
            self._attach(self.ruleset, loose)
            if loose and not repaired:
                repaired.append("filter")
        if repaired == ["ifb"] or not self._is_hooked(present):
            table = self._composed(self.ruleset)
            self._table.commit(self._table.new_rules(table))
            if not repaired:
                repaired.append("hook")
        if self._broken:
            self._broken = False
            left = self._armed_until - time.monotonic()
            if self.ruleset.enforce and left > 0:
                self._table.arm(left)
        return repaired

    def spared_in_sync(self) -> bool:
        """Ask the kernel about boundaries and random addresses; True if it agrees."""
        return self.spared.in_sync(self.ruleset.spared)

    def to_read_back(self, steps: Plan) -> Iterator[tuple[Family, Rows]]:
        """The addresses to ask about after a change, few at a time."""
        return after_change(self.ruleset.spared, steps.spared, anew=steps.swap)

    def agrees(self, family: Family, addresses: Rows) -> bool:
        """Ask the kernel about addresses; True if it spares those that it should."""
        return self.spared.agrees(self.ruleset.spared, family, addresses)

    def compare(self, family: Family, after: bytes | None) -> Compared:
        """Compare a few spared intervals behind an address with the kernel's."""
        return self.spared.compare(self.ruleset.spared, family, after)

    def surplus(self, family: Family) -> int | None:
        """How many intervals are in the kernel's set that should not be."""
        return self.spared.surplus(self.ruleset.spared, family)

    def counters(self) -> Counters:
        """Current totals."""
        return total(self._table.counters(), self._throttled)

    def close(self) -> None:
        """Disarm, then filters, table, what waits, ifb; each whatever else failed."""
        steps: list[Callable[[], None]] = []
        if self._taken:
            steps += [self._table.disarm, self._attached.detach_all]
            steps += [self._table.destroy, self._drain, self._shaper.remove]
        steps += [channel.close for channel in self._channels]
        if self._route is not None:
            steps.append(self._route.close)
        for step in steps:
            try:
                step()
            except Exception as error:  # noqa: BLE001 - the rest must go, too
                logger.error("cannot clear up (%s): %s", step.__name__, error)  # noqa: TRY400
        self._taken = False
        self._channels.clear()
        self._route = None

    def _drain(self) -> None:
        """Let what waits on the ifb go on its way."""
        deadline = time.monotonic() + _DRAIN
        while self._throttled.classes.backlog() and time.monotonic() < deadline:
            time.sleep(_DRAIN_STEP)

    def _composed(self, ruleset: Ruleset, generation: int | None = None) -> Table:
        """The table, hooked to those interfaces that are there at this moment."""
        links = current_links()
        present = tuple(name for name in ruleset.interfaces if name in links)
        there = replace(ruleset, interfaces=present)
        return compose(there, self._shaper.index, generation or self.spared.asked)

    def _attach(self, ruleset: Ruleset, interfaces: Sequence[str]) -> None:
        self._attached.attach(interfaces, ruleset.mark, self._shaper.index)

    def _is_hooked(self, interfaces: Iterable[str]) -> bool:
        hooked = self._table.hooked_interfaces()
        return all(set(interfaces) <= devices for devices in hooked)
