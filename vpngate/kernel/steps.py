# SPDX-License-Identifier: GPL-2.0-or-later
"""The steps of a change that more than one part has a share in, in their order.

Knows what may come before what; does not know threads or waiting.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial

from vpngate.kernel.clearing import remove_every_kind
from vpngate.kernel.detour.sweeps import Choice, Sweep, ends_among, everything
from vpngate.kernel.detour.throttled import Throttled
from vpngate.kernel.detour.verdict_lines import VerdictLines
from vpngate.kernel.detour.verdict_maps import VerdictMaps
from vpngate.kernel.lanes import OffTheLane, each
from vpngate.kernel.shaping.devices.ifb_devices import IfbDevices
from vpngate.kernel.shaping.queueing import largest_packet
from vpngate.kernel.shaping.route import Route
from vpngate.kernel.shaping.shaper import Shaper
from vpngate.kernel.table.hooks import Hooks
from vpngate.kernel.table.owned import OwnedTable, Rules
from vpngate.kernel.table.protected import ProtectedSets
from vpngate.kernel.table.spared import SparedSets
from vpngate.kernel.table.switch import ENDING, Switch
from vpngate.kernel.table.witness import Witness
from vpngate.kernel.way import Way
from vpngate.kernel.wire.channel import NETFILTER, ROUTE, Change, Channel
from vpngate.kernel.wire.links import Announcement, Listener, What
from vpngate.plan import Plan
from vpngate.policy import Throttle
from vpngate.prefixes.intervals import Intervals
from vpngate.ruleset import Ruleset
from vpngate.ruleset.composition import compose

_VERDICTS = 50  # a step, if no more classes are needed than it may make


class Steps(OffTheLane):
    """All that stands in the kernel for one table, part by part.

    One thread alone may use it, from `open` on; `concerns`, and what it is told, any.
    """

    ruleset: Ruleset  # in force
    hearing: Callable[[Listener], AbstractContextManager[object]] = nullcontext
    on_its_way = 0.0  # seconds that what has left a queue may still be on a device

    def __init__(self) -> None:
        self._channels: list[Channel] = []
        self._route: Route | None = None
        self._taken = False
        self._sweeps: deque[Sweep] = deque()  # of verdicts that are to be ended
        self.stale = False  # whether rules are not where they could be

    def open(self, ruleset: Ruleset, protected: Intervals) -> None:
        """Take the table, with lasting sets and counters and no rule yet."""
        self.ruleset = ruleset
        for protocol in (NETFILTER, ROUTE):
            self._channels.append(Channel(protocol))
        owner, route = self._channels
        self._route = Route()
        self.table = OwnedTable(owner, ruleset.table)
        self.hooks = Hooks(self.table)
        self.switch = Switch(self.table)
        self.spared = SparedSets(self.table, ruleset.spared)
        self.protected = ProtectedSets(self.table)
        self.witness = Witness(self.table)
        ifbs = IfbDevices(ruleset.table, self._route, route)
        self.shaper = Shaper(ifbs, self._route, route, self.witness)
        self.lines, most = VerdictLines(self.table), ruleset.max_flows
        maps = VerdictMaps(self.table, self.shaper.class_id, self.lines)
        self.throttled = Throttled(self.lines, maps, self.shaper, most)
        self.way = Way(self.switch, self.shaper, self.throttled)
        self.table.create(ruleset)
        self._taken = True
        self.protected.put(protected)
        remove_every_kind(ruleset.table, self._route, route)  # a killed daemon's
        self.shaper.look_around()

    def install(self, ruleset: Ruleset) -> None:
        """Put up rules that observe, then the ifb, then rules that use it.

        In this order, so that what a kernel lacks is told for what it is.
        """
        self.spared.create()
        self.witness.begin()
        self._put_up(replace(ruleset, enforce=False), self.table.introduce)
        if ruleset.enforce:
            self.way.build(ruleset.rate)
            self.way.fit(ruleset.rate, wanted=True)
            self._put_up(ruleset, self.table.introduce_slowing)

    def prepare(self, ruleset: Ruleset, planned: Plan) -> None:
        """Put up what the new rules will need; nothing uses it yet."""
        if planned.build:
            self.hooks.choose(ruleset)
            self._note_packet()
            self.way.build(ruleset.rate)
            self.throttled.rebuilt()

    def turn(self, ruleset: Ruleset, planned: Plan, rules: Rules | None) -> None:
        """Turn from the old rules to the new, and to sets filled anew, at once.

        The verdicts that the new rules cover are ended afterwards, step by step: the
        spared sets guard whom they are about from this moment on.
        """
        if planned.end_verdicts:
            self.switch.keep_off(ENDING)  # they may mean something else from now on
        asking = self.spared.asking() if planned.swap else []
        commit = self.table.introduce_slowing if planned.build else self.table.commit
        if rules is None:
            commit(asking)
        else:
            self._put_up(ruleset, commit, rules, asking)
        if planned.swap:
            self.spared.turned(ruleset.spared)
        else:
            self.spared.changed(ruleset.spared)
        self.ruleset = ruleset
        self._note_what_follows(planned)

    def _note_what_follows(self, planned: Plan) -> None:
        """It is done before another change, whatever becomes of whoever waits."""
        if planned.end_verdicts:
            self.end(everything)
        elif len(planned.spared.added):
            self.end(partial(ends_among, addresses=planned.spared.added))
        still = self.way.to_vacate and not planned.build
        self.way.to_vacate = planned.dismantle or still
        self.way.fit(self.ruleset.rate, wanted=self.ruleset.enforce)
        if self.ruleset.enforce:
            self.switch.shorten(self.ruleset.deadman)
        else:
            self.switch.disarm()

    def end(self, choose: Choice) -> Sweep:
        """Have the verdicts ended that are chosen, by and by (`end_few`)."""
        self._sweeps.append(self.throttled.sweep(choose))
        return self._sweeps[-1]

    def end_few(self) -> bool:
        """End a few of the verdicts that wait for it; whether more do."""
        now = time.monotonic()
        if self._sweeps:
            if not self.throttled.advance(self._sweeps[0], now):
                self._sweeps.popleft()
            self.table.changed = now
        if not self._sweeps:
            self.let(ENDING)
        return bool(self._sweeps)

    def let(self, sake: object) -> None:
        """Let what is kept off for that sake be on, if it is wanted and justified."""
        self.switch.let(sake, wanted=self.ruleset.enforce)

    def abandon(self, ruleset: Ruleset, planned: Plan) -> None:
        """Take down what was prepared for a change, unless it is in force."""
        if self.ruleset is ruleset:  # whoever waited was cancelled, the change was not
            return
        if not self._sweeps:
            self.let(ENDING)
        if planned.build:
            self.throttled.dismantled()
            self.way.remove()
        self.spared.abandon()

    def turn_refilled(self) -> None:
        """Turn the rules to the spared sets that were filled anew."""
        self.table.commit(self.spared.asking())
        self.spared.turned(self.spared.held)

    def throttle(
        self, flows: list[Throttle], wanted: Callable[[Throttle], bool]
    ) -> None:
        """Hand over the first few, of those wanted whose ends are not spared now."""
        if not self.ruleset.enforce:
            flows.clear()
            return
        few = flows[:_VERDICTS]
        spared = ends_among(few, self.spared.held)
        spared |= ends_among(few, self.protected.held)
        pairs = zip(few, spared, strict=True)
        due = [n for n, (one, skip) in enumerate(pairs) if not skip and wanted(one)]
        done = self.throttled.throttle([few[n] for n in due], time.monotonic())
        del flows[: due[done] if done < len(due) else len(few)]

    def protect(self, addresses: Intervals) -> None:
        """Protect these alone; the verdicts on them are to be ended."""
        self.protected.put(addresses)
        if len(addresses):
            self.end(partial(ends_among, addresses=addresses))

    def rearm(self, at_most: float = math.inf) -> bool:
        """Arm for the dead man's time, unless nothing is enforced; whether it is."""
        seconds = min(self.ruleset.deadman, at_most)
        return self.ruleset.enforce and self.switch.arm(seconds)

    def at_once(self, news: Announcement) -> Callable[[], None] | None:
        """What must not wait for a repair, if anything; from any thread."""
        return self.way.break_off if self.way.endangers(news) else None

    def concerns(self, news: Announcement) -> bool:
        """Whether something of ours may have changed; from any thread."""
        if news.what is What.UNKNOWN or self.way.concerns(news):
            return True
        if news.what is not What.LINK or news.link is None:
            return False
        known = self.hooks.index_of(news.link.name)
        if known is None:  # it was not there at the last look
            return news.link.name in self.ruleset.interfaces
        return known != news.index or self.way.is_too_small(news.link.mtu)

    def repair(self) -> list[str]:
        """Compare ifbs and hooks, mend what differs; labels of what did.

        What takes long is left to `mended` and `way.advance`; nothing is slowed before.
        """
        self.way.vacate()
        repaired = ["ifb"] if self.way.is_broken() else []
        self.stale = self.hooks.try_again(self.ruleset)
        if not self.hooks.are_whole(self.ruleset) and not self.stale:
            self.stale = True
            repaired.append("hook")
        self._note_packet()
        return repaired

    def mended(self, rules: Rules | None) -> None:
        """Put up the rules anew where they could be hooked to more than they are.

        The queues are fitted to those that are hooked also where that cannot be done.
        """
        try:
            if rules is not None:
                self._put_up(self.ruleset, self.table.commit, rules)
                self.stale = False
        finally:
            self.way.fit(self.ruleset.rate, wanted=self.ruleset.enforce)

    @property
    def draining(self) -> list[int]:
        """The ifbs that go once nothing waits there."""
        return self.way.draining if self._taken else []

    def take_down(self) -> None:
        """Disarm, then the table; what waits on the ifbs is still on its way."""
        if self._taken:
            each(self.switch.disarm, self.table.destroy)
            self.way.to_vacate = True

    def close(self) -> None:
        """At last the ifbs, and what the kernel was asked through.

        The owner's socket first: a table that could not be taken down goes with it,
        and nothing may be sent to an ifb that is gone.
        """
        closing = [channel.close for channel in self._channels]
        each(*closing[:1])
        if self._taken:
            each(self.way.remove)
        each(*closing[1:])
        if self._route is not None:
            each(self._route.close)
        self._taken = False
        self._channels.clear()
        self._sweeps.clear()
        self._route = None

    def rules(self, ruleset: Ruleset) -> Rules:
        """The rules for those interfaces that can be had now.

        Encoding them takes its time: in any thread, while nothing else is changed.
        """
        return Rules.of(compose(self.hooks.choose(ruleset)))

    def _put_up(
        self,
        ruleset: Ruleset,
        commit: Callable[[Sequence[Change]], None],
        rules: Rules | None = None,
        also: Sequence[Change] = (),
    ) -> None:
        """Commit the rules, `rules` if these have been made already, and more."""
        made = [] if rules is None else [rules]

        def changes() -> list[Change]:
            now = made.pop() if made else self.rules(ruleset)
            self._note_packet()
            return [*self.table.new_rules(now), *also]

        with self.lines.put_up(ruleset):
            self.hooks.commit(commit, changes, ruleset)

    def _note_packet(self) -> None:
        self.way.packet = largest_packet(self.hooks.largest_mtu)
