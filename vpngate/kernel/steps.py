# SPDX-License-Identifier: GPL-2.0-or-later
"""The steps of a change that more than one part has a share in, in their order.

Knows what may come before what when table, ifb and verdicts are put up, changed,
mended and taken down; does not know threads or waiting. What concerns one
part alone is asked of that part.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from pyroute2 import IPRoute

from vpngate.kernel.detour.ifbs import Shaper, free_major
from vpngate.kernel.detour.throttled import Throttled, ends_among
from vpngate.kernel.table.hooks import Hooks
from vpngate.kernel.table.owned import OwnedTable
from vpngate.kernel.table.spared import SparedSets
from vpngate.kernel.table.switch import Switch
from vpngate.kernel.wire.channel import NETFILTER, ROUTE, Change, Channel
from vpngate.kernel.wire.links import Announcement, What
from vpngate.plan import Plan
from vpngate.policy import Throttle
from vpngate.ruleset import Ruleset
from vpngate.ruleset.composition import compose

_DRAIN = 1.0  # seconds at most; a queue holds 0.2
_DRAIN_STEP = 0.02

logger = logging.getLogger(__name__)


class Steps:
    """All that stands in the kernel for one table, part by part.

    One thread alone may use it, from `open` on; `concerns` and `endangers` any.
    """

    ruleset: Ruleset  # in force
    table: OwnedTable
    hooks: Hooks
    switch: Switch
    spared: SparedSets
    shaper: Shaper
    throttled: Throttled

    def __init__(self) -> None:
        self._channels: list[Channel] = []
        self._route: IPRoute | None = None
        self._taken = False

    def open(self, ruleset: Ruleset) -> None:
        """Take the table, with sets and counters and no rule yet."""
        self.ruleset = ruleset
        for protocol in (NETFILTER, ROUTE):
            self._channels.append(Channel(protocol))
        owner, route = self._channels
        self._route = IPRoute()
        self.table = OwnedTable(owner, ruleset.table)
        self.hooks = Hooks(self.table)
        self.switch = Switch(self.table)
        self.spared = SparedSets(self.table, ruleset.spared)
        self.shaper = Shaper(ruleset.table, self._route, route)
        self.shaper.major = free_major(self._route)
        self.throttled = Throttled(self.table, self.shaper, ruleset.max_flows)
        self.table.create(ruleset)
        self._taken = True
        self.spared.create()
        # A killed predecessor leaves it; its table went with it.
        self.shaper.remove()

    def install(self, ruleset: Ruleset) -> None:
        """Put up rules that observe, then the ifb, and rules that use it.

        One after the other, so that what a kernel lacks is told for what it is.
        """
        self._commit_rules(replace(ruleset, enforce=False), self.table.introduce)
        if ruleset.enforce:
            self.shaper.build(ruleset.rate)
            self._commit_rules(ruleset, self.table.introduce_slowing)

    def prepare(self, ruleset: Ruleset, planned: Plan) -> None:
        """Put up what the new rules will need; nothing uses it yet."""
        if planned.build:
            self.shaper.build(ruleset.rate)
            self.throttled.rebuilt()
        if planned.swap:
            self.spared.begin_anew()

    def turn(self, ruleset: Ruleset, planned: Plan) -> None:
        """Turn from the old rules to the new in one transaction.

        It deletes the verdicts that the new rules cover, so that none outlives them.
        """
        ending = (
            self.throttled.everything()
            if planned.end_verdicts
            else self.throttled.covered(ruleset.spared)
        )
        before, after = self.throttled.ending(ending), []
        if planned.swap:
            after = self.spared.removal()
        else:
            before += self.table.spared_delta(self.spared.asked, planned.spared)
        generation = self.spared.newest if planned.swap else self.spared.asked
        commit = self.table.introduce_slowing if planned.build else self.table.commit
        if planned.rules:
            self._commit_rules(ruleset, commit, generation, before, after)
        else:
            commit([*before, *after])
        if planned.swap:
            self.spared.turned(ruleset.spared)
        else:
            self.spared.changed(ruleset.spared)
        self.throttled.ended(ending, time.monotonic())
        self.ruleset = ruleset

    def finish(self, planned: Plan) -> None:
        """Take down what nothing uses any more."""
        if planned.rate and not planned.dismantle:
            self.throttled.classes.change_rate(self.ruleset.rate)
        if planned.dismantle:
            self._drain()
            self.throttled.dismantled()
            self.shaper.remove()

    def abandon(self, ruleset: Ruleset, planned: Plan) -> None:
        """Take down what was prepared for a change, unless it is in force."""
        if self.ruleset is ruleset:  # whoever waited was cancelled, the change was not
            return
        if planned.build:
            self.throttled.dismantled()
            self.shaper.remove()
        self.spared.abandon()

    def turn_refilled(self) -> None:
        """Turn the rules to the spared sets that were filled anew."""
        newest, after = self.spared.newest, self.spared.removal()
        self._commit_rules(self.ruleset, self.table.commit, newest, after=after)
        self.spared.turned(self.spared.held)

    def throttle(self, flows: Sequence[Throttle]) -> None:
        """Hand over a few verdicts whose ends are not spared at this moment."""
        if self.ruleset.enforce:
            spared = ends_among(flows, self.spared.held)
            wanted = [
                flow for flow, skip in zip(flows, spared, strict=True) if not skip
            ]
            self.throttled.throttle(wanted, time.monotonic())

    def rearm(self) -> bool:
        """Arm for the dead man's time, unless nothing is enforced; whether it is."""
        return self.ruleset.enforce and self.switch.arm(self.ruleset.deadman)

    def concerns(self, news: Announcement) -> bool:
        """Whether something of ours may have changed; from any thread."""
        if news.what is What.UNKNOWN or news.index == self.shaper.index:
            return True
        known = self.hooks.index_of(news.link.name) if news.link is not None else None
        return news.what is What.LINK and known not in (None, news.index)

    def endangers(self, news: Announcement) -> bool:
        """Whether packets forwarded to the ifb are lost from now; from any thread."""
        if news.index != self.shaper.index:
            return False
        down = news.link is not None and not news.link.up
        return news.what is What.LINK_GONE or (news.what is What.LINK and down)

    def repair(self) -> list[str]:
        """Compare ifb and hooks, mend what differs; labels of what did."""
        repaired = []
        if self.ruleset.enforce and not self.shaper.exists():
            self.switch.break_off()
            self.throttled.rebuilt()  # what an ifb that is still there has counted
            self.shaper.build(self.ruleset.rate)
            repaired.append("ifb")
        again = self.hooks.try_again(self.ruleset)
        if not self.hooks.are_whole(self.ruleset) and not (repaired or again):
            repaired.append("hook")
        if repaired or again:
            self._commit_rules(self.ruleset, self.table.commit)
        self.switch.mended(wanted=self.ruleset.enforce)
        return repaired

    def close(self) -> None:
        """Disarm, then table, what waits, ifb; each whatever else failed."""
        steps: list[Callable[[], None]] = []
        if self._taken:
            steps += [self.switch.disarm, self.table.destroy]
            steps += [self._drain, self.shaper.remove]
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
        while self.throttled.classes.backlog() and time.monotonic() < deadline:
            time.sleep(_DRAIN_STEP)

    def _commit_rules(
        self,
        ruleset: Ruleset,
        commit: Callable[[Sequence[Change]], None],
        generation: int = 0,
        before: Sequence[Change] = (),
        after: Sequence[Change] = (),
    ) -> None:
        """Put up the rules, hooked to those interfaces that can be had now."""
        asked = generation or self.spared.asked

        def changes() -> list[Change]:
            there = self.hooks.choose(ruleset)
            rules = self.table.new_rules(compose(there, self.shaper.index, asked))
            return [*before, *rules, *after]

        self.hooks.commit(commit, changes, ruleset)
