# SPDX-License-Identifier: GPL-2.0-or-later
"""The steps of a change where programs of eBPF do the work.

Knows what is made of programs instead of the table, and that they come and go in the
same order; does not know threads or waiting. The parts answer to the names that
`steps.py` asks for. An empty table of nftables, owned like the other plane's, tells
everybody that its name is in use: it goes with the process, as programs do.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, cast

from vpngate.kernel.bpf.far_ends import FarEnds
from vpngate.kernel.bpf.kernel_clock import insist_on_one_clock
from vpngate.kernel.clearing import remove_every_kind
from vpngate.kernel.detour.throttled import Throttled
from vpngate.kernel.lanes import each
from vpngate.kernel.programmed.attachments.attachment import Attaching
from vpngate.kernel.programmed.attachments.chosen import chosen
from vpngate.kernel.programmed.chain_news import ChainNews
from vpngate.kernel.programmed.flow_maps import FlowMaps
from vpngate.kernel.programmed.near_ends import NearEnds
from vpngate.kernel.programmed.program_hooks import ProgramHooks
from vpngate.kernel.programmed.programmed_table import TURN, ProgrammedTable
from vpngate.kernel.programmed.spared_in_force import SparedInForce
from vpngate.kernel.shaping.devices.veth_devices import VethDevices
from vpngate.kernel.shaping.route import Route
from vpngate.kernel.shaping.shaper import Shaper
from vpngate.kernel.steps import Steps
from vpngate.kernel.table.owned import OwnedTable, Rules
from vpngate.kernel.table.protected import ProtectedSets
from vpngate.kernel.table.switch import Switch
from vpngate.kernel.way import Way
from vpngate.kernel.wire.channel import NETFILTER, ROUTE, Change, Channel
from vpngate.kernel.wire.links import Announcement, What, current_devices
from vpngate.prefixes.intervals import Intervals
from vpngate.ruleset import Ruleset

if TYPE_CHECKING:
    from vpngate.kernel.table.hooks import Hooks
    from vpngate.kernel.table.spared import SparedSets
    from vpngate.kernel.table.witness import Witness


class BpfSteps(Steps):
    """All that stands in the kernel for one plane of programs, part by part.

    `attaching` makes what has programs stand at interfaces.
    """

    hearing = ChainNews
    on_its_way = 0.1  # what is in a pair waits for its processor's turn

    def __init__(self, attaching: Attaching = chosen) -> None:
        super().__init__()
        self._attaching = attaching
        self._programs: ProgrammedTable | None = None
        self._interfaces: ProgramHooks | None = None
        self._near: NearEnds | None = None
        self._far: FarEnds | None = None
        # Interfaces that are to be stood at, and all that their link headers may be.
        self._chosen: tuple[tuple[str, ...], frozenset[int]] = (), frozenset()

    @property
    def programs(self) -> ProgrammedTable:
        """Stages, maps and counters, from `open` on."""
        if self._programs is None:
            raise RuntimeError("the data plane has not been started")
        return self._programs

    def open(self, ruleset: Ruleset, protected: Intervals) -> None:
        """Take the name, make maps and programs; none stands anywhere yet."""
        self.ruleset = ruleset
        for protocol in (NETFILTER, ROUTE):
            self._channels.append(Channel(protocol))
        owner, route = self._channels
        OwnedTable(owner, ruleset.table).claim()
        insist_on_one_clock()
        self._route = Route()
        hooks, near = (self._attaching(route, ruleset.table) for _ in range(2))
        table = ProgrammedTable(ruleset.table, lasting=hooks.lasting)
        self._programs = table
        self._interfaces = ProgramHooks(table, hooks)
        self._near, self._far = NearEnds(table, near), FarEnds(route)
        table.create(ruleset)
        self._taken = True
        # The same questions, answered by programs instead of a table.
        self.table = cast("OwnedTable", table)
        self.hooks = cast("Hooks", self._interfaces)
        self.spared = cast("SparedSets", SparedInForce(table, ruleset.spared))
        self.witness = cast("Witness", self._near)
        self.switch = Switch(self.table)
        self.protected = ProtectedSets(self.table)
        pairs = VethDevices(ruleset.table, self._route, route, self._far)
        self.shaper = Shaper(pairs, self._route, route, self._near)
        maps = FlowMaps(table.flows, self.shaper.class_id)
        self.throttled = Throttled(table, maps, self.shaper, ruleset.max_flows)
        self.way = Way(self.switch, self.shaper, self.throttled)
        self.protected.put(protected)
        taken_over = current_devices(ruleset.interfaces) if hooks.lasting else {}
        kept = {device.index for device in taken_over.values()}
        remove_every_kind(ruleset.table, self._route, route, kept)
        self.shaper.look_around()

    def install(self, ruleset: Ruleset) -> None:
        """Spared first, then the pairs, then programs at the hooks."""
        self.spared.create()
        if ruleset.enforce:
            self.hooks.choose(ruleset)
            self._note_packet()
            self.way.build(ruleset.rate)
            self.way.fit(ruleset.rate, wanted=True)
        self._put_up(ruleset, self.table.commit)

    def rules(self, ruleset: Ruleset) -> Rules:
        """The programs that will be wanted are made ahead; no rule is.

        Where they are to stand is asked here, and in `_put_up` no more.
        """
        self._choose(ruleset)
        _, headers = self._chosen
        self.programs.make_ahead_for(ruleset, headers)
        return Rules([])

    def _choose(self, ruleset: Ruleset) -> None:
        names = self.hooks.choose(ruleset).interfaces
        if self._interfaces is not None:
            self._chosen = names, self._interfaces.headers(names)

    def look(self) -> None:
        """Ask about interfaces; what is urgent waits for no answer."""
        if self._interfaces is not None:
            self._interfaces.look(self.ruleset)

    def lacks_room(self, addresses: Intervals) -> bool:
        """Whether programs that search larger sets are needed to protect these."""
        return self.programs.lacks_room(addresses)

    def make_room(self, addresses: Intervals) -> None:
        """Load these ahead; what was protected is meanwhile."""
        self.programs.make_room(addresses)

    def turning_off(self, work: Callable[[], None]) -> Callable[[], None]:
        """Off by one number in memory, until it has been done."""
        return self.programs.held_off(work)

    def stand_few(self) -> bool:
        """Do a little of what is left to do at interfaces; whether more is."""
        return self._interfaces is not None and self._interfaces.stand_few()

    def look_again(self) -> bool:
        """Whether interfaces are to be asked that were had, or told of, just now."""
        return self._interfaces is not None and self._interfaces.look_again()

    def leave_few(self) -> bool:
        """Take the pairs away, where no program leads any more; then interfaces.

        Whatever becomes of one, the others have their turn.
        """
        if self._taken:
            each(self.way.remove)
            self._taken = False
        if self._interfaces is None:
            return False
        each(self._interfaces.leave_few)
        return self._interfaces.remain

    def at_once(self, news: Announcement) -> Callable[[], None] | None:
        """Also where programs stand at what has gone from here, or has another name.

        It may be in another namespace, where a pair's index is another's. Where a
        filter has gone from a hook, what comes back there is not known any more.
        """
        if self._interfaces is not None and self._interfaces.is_astray(news):
            return partial(self._interfaces.leave_at, news.index)
        if self._interfaces is not None and self._interfaces.is_bared(news):
            return self.way.break_off
        return super().at_once(news)

    def concerns(self, news: Announcement) -> bool:
        """Whether something of ours may have changed; from any thread."""
        shared = news.what is What.CHAIN
        if self._interfaces is not None:
            shared |= self._interfaces.note(news)
            if news.what is What.CHAIN_GONE:
                shared |= bool(self._interfaces.refused)  # perhaps for that
        return shared or super().concerns(news)

    def take_down(self) -> None:
        """Disarm, then the stages; what waits in the pairs is still on its way."""
        if self._taken:
            each(self.switch.disarm, self.programs.destroy)
            self.way.to_vacate = True

    def close(self) -> None:
        """At last what is left of these, and what the kernel was asked through."""
        while self.leave_few():
            pass
        super().close()
        for part in (self._near, self._far, self._programs):
            if part is not None:
                each(part.close)
        self._near = self._far = self._programs = self._interfaces = None

    def _put_up(
        self,
        ruleset: Ruleset,
        commit: Callable[[Sequence[Change]], None],
        rules: Rules | None = None,
        also: Sequence[Change] = (),
    ) -> None:
        """Have this ruleset's programs in force, then stand at its interfaces.

        They spare whom they should from the moment on that they are.
        """
        commit([one for one in also if one != TURN])
        if rules is None:
            self._choose(ruleset)
        self._note_packet()
        if self._interfaces is not None:
            names, headers = self._chosen
            self.programs.serve(ruleset, headers, turn=TURN in also)
            self._interfaces.stand(names)
