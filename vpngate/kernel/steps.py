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

from vpngate.kernel.detour.covering import ends_among
from vpngate.kernel.detour.ifbs import Shaper
from vpngate.kernel.detour.queueing import largest_packet
from vpngate.kernel.detour.throttled import Throttled
from vpngate.kernel.table.owned import OwnedTable
from vpngate.kernel.table.spared import SparedSets
from vpngate.kernel.table.switch import Switch
from vpngate.kernel.wire.channel import NETFILTER, ROUTE, Channel
from vpngate.kernel.wire.links import Announcement, What, current_links, require
from vpngate.plan import Plan
from vpngate.policy import Throttle
from vpngate.ruleset import Ruleset
from vpngate.ruleset.composition import compose
from vpngate.ruleset.table import Table

_DRAIN = 1.0  # seconds at most; a queue holds 0.2
_DRAIN_STEP = 0.02

logger = logging.getLogger(__name__)


class Steps:
    """All that stands in the kernel for one table, part by part.

    One thread alone may use it, from `open` on; `concerns` and `endangers` any.
    """

    ruleset: Ruleset  # in force
    table: OwnedTable
    switch: Switch
    spared: SparedSets
    shaper: Shaper
    throttled: Throttled

    def __init__(self) -> None:
        self._channels: list[Channel] = []
        self._route: IPRoute | None = None
        self._taken = False
        self._hooked: dict[str, int] = {}  # interfaces in rules: their indexes
        self._packet = largest_packet(0)  # bytes: the largest that these let pass
        self._missing: list[int] = []  # ifbs that are to be made anew
        self._unfit = False  # whether queues drop packets for their size

    def open(self, ruleset: Ruleset) -> None:
        """Take the table, with sets and counters and no rule yet."""
        self.ruleset = ruleset
        require(ruleset.interfaces)
        for protocol in (NETFILTER, ROUTE):
            self._channels.append(Channel(protocol))
        owner, route = self._channels
        self._route = IPRoute()
        self.table = OwnedTable(owner, ruleset.table)
        self.switch = Switch(self.table)
        self.spared = SparedSets(self.table, ruleset.spared)
        self.shaper = Shaper(ruleset.table, self._route, route)
        self.throttled = Throttled(self.table, self.shaper, ruleset.max_flows)
        self.table.create(ruleset)
        self._taken = True
        self.spared.create()
        # A killed predecessor leaves ifbs; its table went with it.
        self.shaper.look_around()

    def install(self, ruleset: Ruleset) -> None:
        """Put up rules that observe, then the ifb, and rules that use it.

        One after the other, so that what a kernel lacks is told for what it is.
        """
        observing = self._composed(replace(ruleset, enforce=False))
        self.table.introduce(self.table.new_rules(observing))
        if ruleset.enforce:
            self.shaper.begin(ruleset.rate, self._packet)
            rules = self.table.new_rules(self._composed(ruleset))
            self.table.introduce_slowing(rules)

    def prepare(self, ruleset: Ruleset, planned: Plan) -> None:
        """Put up what the new rules will need; nothing uses it yet."""
        require(set(ruleset.interfaces) - set(self.ruleset.interfaces))
        if planned.build:
            self._present(ruleset)
            self.shaper.begin(ruleset.rate, self._packet)
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
        changes = self.throttled.ending(ending)
        if not planned.swap:
            changes += self.table.spared_delta(self.spared.asked, planned.spared)
        generation = self.spared.newest if planned.swap else self.spared.asked
        if planned.rules:
            changes += self.table.new_rules(self._composed(ruleset, generation))
        if planned.swap:
            changes += self.spared.removal()
        if planned.build:
            self.table.introduce_slowing(changes)
        else:
            self.table.commit(changes)
        if planned.swap:
            self.spared.turned(ruleset.spared)
        else:
            self.spared.changed(ruleset.spared)
        self.throttled.ended(ending, time.monotonic())
        self.ruleset = ruleset

    def finish(self, planned: Plan) -> None:
        """Take down what nothing uses any more."""
        self._fit_classes()
        if planned.dismantle:
            self._drain()
            self.throttled.dismantled()
            self.shaper.remove_all()

    def abandon(self, ruleset: Ruleset, planned: Plan) -> None:
        """Take down what was prepared for a change, unless it is in force."""
        if self.ruleset is ruleset:  # whoever waited was cancelled, the change was not
            return
        if planned.build:
            self.throttled.dismantled()
            self.shaper.remove_all()
        self.spared.abandon()

    def turn_refilled(self) -> None:
        """Turn the rules to the spared sets that were filled anew."""
        table = self._composed(self.ruleset, self.spared.newest)
        changes = self.table.new_rules(table)
        self.table.commit([*changes, *self.spared.removal()])
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
        if news.what is What.UNKNOWN or news.index in self.shaper.indexes:
            return True
        known = self._hooked.get(news.link.name) if news.link is not None else None
        if news.what is not What.LINK or news.link is None or known is None:
            return False
        return known != news.index or largest_packet(news.link.mtu) > self._packet

    def endangers(self, news: Announcement) -> bool:
        """Whether packets forwarded to an ifb are lost from now; from any thread."""
        if news.index not in self.shaper.indexes:
            return False
        down = news.link is not None and not news.link.up
        return news.what is What.LINK_GONE or (news.what is What.LINK and down)

    def repair(self) -> list[str]:
        """Compare ifbs and hooks, mend what differs; labels of what did.

        What takes long is left to `advance`: until then nothing is slowed.
        """
        repaired = []
        self._missing = self._lost_ifbs()
        if self._missing:
            self.switch.break_off()
            repaired.append("ifb")
        if not self._is_hooked():
            table = self._composed(self.ruleset)
            self.table.commit(self.table.new_rules(table))
            repaired.append("hook")
        self._fit_classes()
        return repaired

    def advance(self) -> bool:
        """Do a little of what is left to do on the ifbs; whether more is.

        An ifb that is missing is made anew and verdicts led to it; then what was
        broken off goes on, but for packets larger than the queues let pass. Classes
        come last.
        """
        if self._missing:
            number = self._missing[-1]
            self.throttled.lost(number)  # what one that is still there has counted
            self.shaper.build(number)
            self._missing.pop()
            return True
        if self.throttled.move():
            return True
        if self.switch.broken and not self._unfit:
            self._missing = self._lost_ifbs()  # another one may be gone since
            if self._missing:
                return True
            self.switch.mended(wanted=self.ruleset.enforce)
        more = self.throttled.classes.advance()
        if self._unfit and not self.throttled.classes.waiting:
            self._unfit = False
            return True
        return more

    def _lost_ifbs(self) -> list[int]:
        return self.shaper.missing() if self.ruleset.enforce else []

    def _fit_classes(self) -> None:
        """Have the classes changed if rate or largest packet are no longer theirs.

        A queue drops what is larger than the packets that it was made for. So where
        these grow nothing is slowed until all queues have been changed.
        """
        if not self.ruleset.enforce or (self.ruleset.rate, self._packet) == (
            self.shaper.rate,
            self.shaper.packet,
        ):
            return
        if self._packet > self.shaper.packet:
            self.switch.break_off()
            self._unfit = True
        self.shaper.set(self.ruleset.rate, self._packet)
        self.throttled.classes.change()

    def close(self) -> None:
        """Disarm, then table, what waits, ifb; each whatever else failed."""
        steps: list[Callable[[], None]] = []
        if self._taken:
            steps += [self.switch.disarm, self.table.destroy]
            steps += [self._drain, self.shaper.remove_all]
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
        """Let what waits on the ifbs go on its way."""
        deadline = time.monotonic() + _DRAIN
        for number in self.shaper.numbers:
            while self.throttled.classes.backlog(number):
                if time.monotonic() > deadline:
                    return
                time.sleep(_DRAIN_STEP)

    def _composed(self, ruleset: Ruleset, generation: int | None = None) -> Table:
        """The table, hooked to those interfaces that are there at this moment."""
        self._hooked = self._present(ruleset)
        there = replace(ruleset, interfaces=tuple(self._hooked))
        return compose(there, generation or self.spared.asked)

    def _is_hooked(self) -> bool:
        """Whether the rules see all interfaces that are there.

        One that came back under its name Linux hooks by itself, since 6.16.
        """
        self._hooked = self._present(self.ruleset)
        hooked = self.table.hooked_interfaces()
        return all(self._hooked.keys() <= devices for devices in hooked)

    def _present(self, ruleset: Ruleset) -> dict[str, int]:
        links = current_links()
        there = [links[name] for name in ruleset.interfaces if name in links]
        self._packet = largest_packet(max((link.mtu for link in there), default=0))
        return {link.name: link.index for link in there}
